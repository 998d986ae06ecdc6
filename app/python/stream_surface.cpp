#include "app/python/stream_surface.hpp"

#include <algorithm>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "app/python/raised.hpp"
#include "app/python/reports.hpp"
#include "app/python/stream_handle.hpp"

namespace nb = nanobind;

namespace longshore::python {
namespace {

using list_of_memory = nb::typed<nb::list, weight_memory>;
using extents = nb::typed<nb::tuple, uint64_t, nb::ellipsis>;
/// The format's type, the shape, which of the layer's pieces of memory it is in, where in it, and its size in bytes.
using weight_facts = nb::typed<nb::tuple, nb::str, extents, uint64_t, uint64_t, uint64_t>;
using layer_facts = nb::typed<nb::tuple, nb::str, nb::typed<nb::list, weight_facts>>;
using resized = nb::typed<nb::tuple, uint64_t, uint64_t>;

int get_memory(PyObject* self, Py_buffer* view, int flags) {
  const auto& memory = *nb::inst_ptr<weight_memory>(nb::handle(self));
  if (memory.device() != "host") {
    PyErr_Format(PyExc_BufferError, "these weights are in the memory of %s", memory.device().c_str());
    return -1;
  }
  return PyBuffer_FillInfo(view, self, reinterpret_cast<void*>(memory.address()),
                           static_cast<Py_ssize_t>(memory.bytes()), 0, flags);
}

/// For libraries that take memory of a GPU; to others this has no such attribute.
named_values cuda_array_of(const weight_memory& memory) {
  if (memory.device() == "host")
    throw nb::attribute_error("these weights are in host memory");
  nb::dict all;
  all["shape"] = nb::make_tuple(memory.bytes());
  all["typestr"] = "|u1";
  all["data"] = nb::make_tuple(memory.address(), false);
  all["version"] = 3;
  return all;
}

/// What `longshore.torch.stream` says, under names of its own.
std::unique_ptr<stream_handle> open_stream(runtime_handle& runtime, const named_values& wanted) {
  stream_request request;
  std::vector<source_order> sources;
  for (const auto& one : nb::cast<nb::list>(wanted["sources"]))
    sources.push_back({.paths = nb::cast<std::vector<std::string>>(one["paths"]),
                       .copy = nb::cast<std::shared_ptr<pending_load>>(one["copy"]),
                       .cast_to = nb::cast<std::string>(one["dtype"])});
  for (const auto& one : nb::cast<nb::list>(wanted["layers"])) {
    layer_spec layer{.name = nb::cast<std::string>(one[0]), .tensors = {}};
    for (const auto& [source, name] : nb::cast<std::vector<std::pair<uint32_t, std::string>>>(one[1]))
      layer.tensors.push_back({source, name});
    request.layers.push_back(std::move(layer));
  }
  request.device_budget_bytes = nb::cast<std::optional<uint64_t>>(wanted["device_budget"]);
  request.planning.unit_bytes = nb::cast<uint64_t>(wanted["unit"]);
  request.acquire_timeout = std::chrono::milliseconds{static_cast<int64_t>(nb::cast<double>(wanted["deadline"]) * 1e3)};
  const auto device = nb::cast<std::string>(wanted["device"]);
  const nb::gil_scoped_release others_run;
  return value_or_raise(stream_handle::open(runtime, sources, std::move(request), device));
}

/// Looks for signals while it waits, so that Ctrl-C ends it.
std::shared_ptr<layer_use> acquire(stream_handle& stream, uint32_t layer) {
  bool signalled = false;
  auto use = [&] {
    const nb::gil_scoped_release others_run;
    return stream.acquire(layer, [&] {
      const nb::gil_scoped_acquire mine;
      signalled = PyErr_CheckSignals() != 0;
      return !signalled;
    });
  }();
  if (signalled)
    throw nb::python_error();
  return value_or_raise(std::move(use));
}

list_of_memory memory_of(const layer_use& use, const stream_handle& stream) {
  nb::list all;
  for (const auto& block : use.blocks())
    all.append(nb::cast(weight_memory(block, stream.device())));
  return all;
}

layer_facts facts_of(const planned_layer& layer) {
  nb::list weights;
  for (const auto& tensor : layer.tensors) {
    nb::list shape;
    for (auto extent : tensor.info.shape)
      shape.append(extent);
    const auto piece = std::find(layer.units.begin(), layer.units.end(), tensor.unit) - layer.units.begin();
    weights.append(nb::make_tuple(name(tensor.info.type).data(), nb::tuple(shape), piece, tensor.offset_bytes,
                                  tensor.info.size_bytes()));
  }
  return nb::make_tuple(layer.name, weights);
}

nb::typed<nb::list, layer_facts> layers_of(stream_handle& stream) {
  nb::list all;
  for (const auto& layer : value_or_raise(stream.get())->plan().layers)
    all.append(facts_of(layer));
  return all;
}

/// The budget from now on, and the bytes that the device got back.
resized resize(stream_handle& stream, expected<stream_resized> (streamed_model::*how)(uint64_t), uint64_t bytes) {
  const auto answer = [&] {
    const nb::gil_scoped_release others_run;
    return value_or_raise((value_or_raise(stream.get()).get()->*how)(bytes));
  }();
  return nb::make_tuple(answer.budget_bytes, answer.freed_bytes);
}

named_values status_of(stream_handle& stream) {
  const auto answer = [&] {
    const nb::gil_scoped_release others_run;
    return value_or_raise(value_or_raise(stream.get())->status());
  }();
  return dict_of(answer);
}

}  // namespace

void add_streams(nb::module_& m) {
  static PyType_Slot memory_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(get_memory)}, {0, nullptr}};
  nb::class_<weight_memory>(m, "Memory", nb::type_slots(memory_slots))
      .def_prop_ro("address", &weight_memory::address)
      .def_prop_ro("size", &weight_memory::bytes)
      .def_prop_ro("device", &weight_memory::device)
      .def_prop_ro("__cuda_array_interface__", &cuda_array_of);
  nb::class_<layer_use>(m, "LayerUse").def("end", [](layer_use& use) { use.end(nullptr); });
  nb::class_<stream_handle>(m, "Stream", nb::is_weak_referenceable())
      .def_prop_ro("device", &stream_handle::device)
      .def("layers", &layers_of)
      .def("acquire", &acquire, nb::arg("layer"))
      .def(
          "memory", [](const stream_handle& stream, const layer_use& use) { return memory_of(use, stream); },
          nb::arg("use"))
      .def("begin_pass", [](stream_handle& stream) { value_or_raise(stream.get())->begin_pass(); })
      .def(
          "resize", [](stream_handle& s, uint64_t bytes) { return resize(s, &streamed_model::resize, bytes); },
          nb::arg("budget"))
      .def(
          "make_room", [](stream_handle& s, uint64_t bytes) { return resize(s, &streamed_model::make_room, bytes); },
          nb::arg("bytes"))
      .def("status", &status_of)
      .def("close", &stream_handle::close, nb::call_guard<nb::gil_scoped_release>());
  m.def("open_stream", &open_stream, nb::arg("runtime"), nb::arg("wanted"));
}

}  // namespace longshore::python
