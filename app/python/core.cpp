/// longshore._core: what the Python package is built on. See longshore/__init__.py for what people use.

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "app/python/runtime_handle.hpp"

namespace nb = nanobind;

namespace longshore::python {
namespace {

/// An error on its way to Python, where longshore/_errors.py makes the exception of it.
struct failure {
  error reason;
};

void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const failure& f) {
    const auto& e = f.reason;
    const bool forked = e.code == errc::unsupported && runtime_handle::in_forked_child();
    const auto made =
        nb::module_::import_("longshore._errors")
            .attr("make")(forked ? "forked" : name(e.code).data(), to_text(e), e.path, e.where, e.os_error);
    PyErr_SetObject(made.type().ptr(), made.ptr());
  }
}

template <class T>
T value_or_raise(expected<T> result) {
  if (!result)
    throw failure{std::move(result.error())};
  return std::move(*result);
}

template <class Choice>
Choice chosen(const char* what, const std::string& text, std::initializer_list<std::pair<const char*, Choice>> known) {
  for (const auto& [word, choice] : known)
    if (text == word)
      return choice;
  throw failure{{.code = errc::bad_argument, .what = std::string{"there is no "} + what + " '" + text + "'"}};
}

/// One file of a leased model: its bytes as a buffer, which keeps the lease, and what lies where in them.
class leased_file {
public:
  leased_file(shared_lease lease, size_t number, bool writable)
      : lease_(std::move(lease)), file_(*lease_->model().files[number]), writable_(writable && !file_.is_mapped()) {
    if (!file_.tensors().empty())  // they are contiguous, so the first begins where all begin
      data_ = {file_.bytes_of(file_.tensors().front()).data(), file_.tensors().back().end_bytes};
  }

  const std::string& path() const { return file_.path(); }
  bool is_mapped() const { return file_.is_mapped(); }
  uintptr_t address() const { return reinterpret_cast<uintptr_t>(data_.data()); }

  nb::dict metadata() const {
    nb::dict all;
    for (const auto& [key, text] : file_.header().metadata)
      all[key.c_str()] = text;
    return all;
  }

  /// {name: (type, shape, begin, bytes)}, in the order of the file.
  nb::dict tensors() const {
    nb::dict all;
    for (const auto& tensor : file_.tensors()) {
      nb::list shape;
      for (const auto extent : tensor.shape)
        shape.append(extent);
      all[tensor.name.c_str()] =
          nb::make_tuple(name(tensor.type).data(), nb::tuple(shape), tensor.begin_bytes, tensor.size_bytes());
    }
    return all;
  }

  int fill(PyObject* self, Py_buffer* view, int flags) const {
    // Python's buffers have no const; whether a consumer may write is the argument after the size.
    static std::byte nothing{};
    auto* begin = data_.empty() ? &nothing : const_cast<std::byte*>(data_.data());
    return PyBuffer_FillInfo(view, self, begin, static_cast<Py_ssize_t>(data_.size()), writable_ ? 0 : 1, flags);
  }

private:
  shared_lease lease_;
  const held_file& file_;
  bool writable_;
  std::span<const std::byte> data_{};
};

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  return nb::inst_ptr<leased_file>(nb::handle(self))->fill(self, view, flags);
}

std::unique_ptr<runtime_handle> start(uint64_t host_limit_bytes, std::optional<uint64_t> pin_budget_bytes,
                                      const std::string& engine) {
  runtime_options options{.host_limit_bytes = host_limit_bytes};
  options.pin_budget_bytes = pin_budget_bytes;
  options.engine.kind = chosen<engine_kind>(
      "engine", engine,
      {{"auto", engine_kind::automatic}, {"io_uring", engine_kind::io_uring}, {"threads", engine_kind::threads}});
  const nb::gil_scoped_release others_run;
  return value_or_raise(runtime_handle::start(std::move(options)));
}

nb::list load(runtime_handle& runtime, std::vector<std::string> paths, std::string key, const std::string& hold,
              double deadline_s, bool alone) {
  load_order order{.paths = std::move(paths), .key = std::move(key), .alone = alone};
  order.hold = chosen<hold_choice>("hold", hold,
                                   {{"auto", hold_choice::automatic},
                                    {"owned", hold_choice::owned},
                                    {"pinned", hold_choice::pinned},
                                    {"mapped", hold_choice::mapped}});
  order.deadline = std::chrono::milliseconds{static_cast<int64_t>(deadline_s * 1e3)};
  bool signalled = false;
  expected<shared_lease> lease = unexpected(error{});
  {
    const nb::gil_scoped_release others_run;
    lease = runtime.load(std::move(order), [&] {
      const nb::gil_scoped_acquire ours;
      signalled = PyErr_CheckSignals() != 0;
      return !signalled;
    });
  }
  if (signalled)
    throw nb::python_error();
  auto leased = value_or_raise(std::move(lease));
  nb::list files;
  for (size_t i = 0; i < leased->model().files.size(); ++i)
    files.append(nb::cast(leased_file(leased, i, alone)));
  return files;
}

}  // namespace
}  // namespace longshore::python

NB_MODULE(_core, m) {
  using namespace longshore::python;
  // Views of weights live as long as people please, past the end of the interpreter too.
  nb::set_leak_warnings(false);
  nb::register_exception_translator(translate);
  static PyType_Slot buffer_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)}, {0, nullptr}};
  nb::class_<leased_file>(m, "File", nb::type_slots(buffer_slots))
      .def_prop_ro("path", &leased_file::path)
      .def_prop_ro("is_mapped", &leased_file::is_mapped)
      .def_prop_ro("address", &leased_file::address)
      .def("metadata", &leased_file::metadata)
      .def("tensors", &leased_file::tensors);
  nb::class_<runtime_handle>(m, "Runtime")
      .def("load", &load, nb::arg("paths"), nb::arg("key"), nb::arg("hold"), nb::arg("deadline"), nb::arg("alone"))
      .def("close", &runtime_handle::close, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("engine", [](runtime_handle& r) { return value_or_raise(r.engine_name()); })
      .def_prop_ro("host_limit", [](runtime_handle& r) { return value_or_raise(r.host_limit_bytes()); });
  m.def("start", &start, nb::arg("host_limit"), nb::arg("pin_budget").none(), nb::arg("engine"));
}
