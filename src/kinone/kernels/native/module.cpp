// The module kinone.kernels._native: the kernels of every family, and the two settings that they share.
#include <nanobind/nanobind.h>

#include <cstring>

#include "allocator.hpp"
#include "array.hpp"
#include "isa.hpp"
#include "limit.hpp"
#include "pool.hpp"

namespace nb = nanobind;

namespace kinone {

// Each family's functions, in its module.cpp.
void add_attention(nb::module_& m);
void add_convolution(nb::module_& m);
void add_elementwise(nb::module_& m);
void add_factorize(nb::module_& m);
void add_gemm(nb::module_& m);
void add_index(nb::module_& m);
void add_loss(nb::module_& m);
void add_normalize(nb::module_& m);
void add_optimize(nb::module_& m);
void add_pooling(nb::module_& m);
void add_random(nb::module_& m);
void add_recurrent(nb::module_& m);
void add_reduction(nb::module_& m);
void add_resize(nb::module_& m);

namespace {

struct Choice {
  const char* name;
  Isa isa;
  bool is_here;
};

// Those of the build, the best last.
const Choice choices[] = {
#ifdef KINONE_HAS_X86
    {"avx2", Isa::avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")},
    {"avx512", Isa::avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")},
#endif
#ifdef KINONE_HAS_NEON
    {"neon", Isa::neon, true},
#endif
};
Isa chosen = choices[0].isa;

nb::dict isas() {
  nb::dict found;
  for (const Choice& choice : choices) found[choice.name] = choice.is_here;
  return found;
}

void set_isa(const char* name) {
  for (const Choice& choice : choices)
    if (choice.is_here && !std::strcmp(choice.name, name)) chosen = choice.isa;
}

double multiply_adds(const char* type, Index rounds) {
  nb::gil_scoped_release released;
  return KINONE_CALL(multiply_adds(*type, rounds));
}

void copy(nb::handle y_object, nb::handle x_object) {
  Array y(y_object), x(x_object);
  if (y.type != 'f' || x.type != 'f' || !y.is_contiguous() || !x.is_contiguous() || y.size() != x.size()) return;
  compute("copy", x.size(), [&] { KINONE_CALL(copy(y.data<float>(), x.data<float>(), x.size())); });
}

// native(…), and reference(…) if that answers NotImplemented: in C, since every call of a kernel passes here.
PyObject* call_either(PyObject* both, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  PyObject* y = PyObject_Vectorcall(PyTuple_GetItem(both, 0), arguments, count, names);
  if (y != Py_NotImplemented) return y;
  Py_DECREF(y);
  return PyObject_Vectorcall(PyTuple_GetItem(both, 1), arguments, count, names);
}

nb::object either(nb::handle native, nb::handle reference, const char* name, const char* doc) {
  // Kernels are bound once and live as long as the process, and so do the names here.
  auto* method = new PyMethodDef{strdup(name), reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_either)),
                                 METH_FASTCALL | METH_KEYWORDS, strdup(doc)};
  nb::object both = nb::make_tuple(native, reference);
  return nb::steal(PyCFunction_New(method, both.ptr()));
}

}  // namespace

Isa isa() { return chosen; }

}  // namespace kinone

NB_MODULE(_native, m) {
  kinone::import_numpy();
  m.def("isas", kinone::isas, "The instruction sets that the build holds, the best last, and whether each runs here.");
  m.def("set_isa", kinone::set_isa, nb::arg("name"));
  m.def("threads", kinone::threads);
  m.def("set_threads", kinone::set_threads, nb::arg("count"));
  m.def("either", kinone::either, nb::arg("native"), nb::arg("reference"), nb::arg("name"), nb::arg("doc"),
        "A function that calls `native`, and `reference` where that answers NotImplemented.");
  m.def("set_allocator", kinone::set_allocator, nb::arg("is_on"));
  m.def("memory", [] {
    kinone::MemoryInUse now = kinone::memory_in_use();
    return nb::make_tuple(now.used, now.waiting, now.most_used);
  }, "Bytes of arrays in use, those that wait to be used again, and the most that were in use at once.");
  m.def("forget_most_used", kinone::forget_most_used);
  m.def("release_memory", kinone::release_memory);
  m.def("multiply_adds", kinone::multiply_adds, nb::arg("type"), nb::arg("rounds"),
        "Keeps every thread at fused multiply-adds, of float32 ('f') or float64 ('d'); returns the operations done.");
  m.def("copy", kinone::copy, nb::arg("y"), nb::arg("x"), "y = x for float32 arrays, on every thread.");
  for (auto add : {kinone::add_attention, kinone::add_convolution, kinone::add_elementwise, kinone::add_factorize,
                   kinone::add_gemm, kinone::add_index, kinone::add_loss, kinone::add_normalize, kinone::add_optimize,
                   kinone::add_pooling, kinone::add_random, kinone::add_recurrent, kinone::add_reduction,
                   kinone::add_resize})
    add(m);
}
