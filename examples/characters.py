"""A character model learns a nursery rhyme, reading it in pieces, and draws verses of it.

Each verse of "This is the house that Jack built" (printed in 1755) is the one before with a new beginning. Gradients
reach back 64 characters, to the beginning of a piece; the state goes on. So it learns how a verse goes, all 350
characters of the longest; which verse comes next was decided further back, and stays a guess: 11 in 2,100 characters.

    python examples/characters.py
"""

import numpy as np

import kinone as kn
from kinone import models, nn, optim

WHO = (
    ("house", "that Jack built"), ("malt", "that lay in"), ("rat", "that ate"), ("cat", "that killed"),
    ("dog", "that worried"), ("cow with the crumpled horn", "that tossed"), ("maiden all forlorn", "that milked"),
    ("man all tattered and torn", "that kissed"), ("priest all shaven and shorn", "that married"),
    ("cock that crowed in the morn", "that waked"), ("farmer sowing his corn", "that kept"),
)  # fmt: skip


def rhyme(verses: int) -> str:
    """The first verses, one to a line."""
    text, whole = "", ""
    for who, did in WHO[:verses]:
        whole = f"the {who} {did} {whole}".strip()
        text += f"This is {whole}.\n"
    return text


def main(short: bool = False) -> dict[str, float]:
    """Train, and answer the bits per character and the share of whole verses among those that it draws."""
    kn.random.seed(0)
    text = rhyme(2 if short else len(WHO))
    model = models.CharacterRNN("".join(sorted(set(text))), hidden_size=32 if short else 128)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    tokens = model.encode(text)[None]
    bits = first = 0.0
    for epoch in range(5 if short else 60):
        total = 0.0
        for at, logits, _ in nn.truncated(model, tokens[:, :-1], 64):
            following = tokens[0, at.start + 1 : at.stop + 1]
            loss = kn.cross_entropy(kn.reshape(logits, (-1, len(model.alphabet))), following)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(following)
        bits = float(total / (len(text) - 1) / np.log(2))
        first = first or bits
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: {bits:.4f} bits per character")
    drawn = model.generate("\n", 300 if short else 3000, temperature=0.5).split("\n")[1:-1]
    verses = float(np.mean([verse in text.split("\n") for verse in drawn])) if drawn else 0.0
    print("\n".join([*drawn[:3], f"verses that are verses of the rhyme: {verses:.1%} of {len(drawn)}"]))
    return {"verses": verses, "bits": bits, "first": first}


if __name__ == "__main__":
    main()
