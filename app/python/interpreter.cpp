/// longshore._interpreter: refuses to be imported in a subinterpreter, and nothing else.
///
/// `_core` cannot say so itself: nanobind keeps one state a process, and the first thing that a second import of it
/// does is replace that under the interpreter which has it.

#include <Python.h>

namespace {

int refuse_subinterpreters(PyObject*) {
  // The main interpreter is the first.
  if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0)
    return 0;
  PyErr_SetString(PyExc_ImportError,
                  "longshore cannot be used in a subinterpreter: import it in the main interpreter and hand what you "
                  "need to this one, or use a process of its own (multiprocessing with \"spawn\")");
  return -1;
}

PyModuleDef_Slot slots[] = {{Py_mod_exec, reinterpret_cast<void*>(refuse_subinterpreters)},
#ifdef Py_mod_multiple_interpreters  // so that ours is the word that people read, with a lock of its own too
                            {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
                            {0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_interpreter", nullptr, 0, nullptr, slots, nullptr, nullptr, nullptr};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that Python looks for
PyMODINIT_FUNC PyInit__interpreter() { return PyModuleDef_Init(&definition); }
