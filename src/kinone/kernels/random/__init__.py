"""Random bits, uniforms, normals, integers and permutations, each addressed by (key, step, index)."""
