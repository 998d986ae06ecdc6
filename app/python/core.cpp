/// longshore._core: what the Python package is built on. See longshore/__init__.py for what people use.

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "app/python/leased_file.hpp"
#include "app/python/raised.hpp"
#include "app/python/reports.hpp"
#include "app/python/runtime_handle.hpp"
#include "app/python/stream_surface.hpp"
#include "gpu/find_device.hpp"
#include "io/model_folders.hpp"
#include "io/open_model.hpp"

namespace nb = nanobind;

namespace longshore::python {
namespace {

// What is in Python's containers, for who checks types.
using list_of_files = nb::typed<nb::list, leased_file>;
using lease_parts = nb::typed<nb::tuple, nb::str, nb::str, uint64_t, bool, list_of_files>;
using progress_parts = nb::typed<nb::tuple, uint64_t, uint64_t, nb::str>;
using list_of_events = nb::typed<nb::list, nb::typed<nb::tuple, nb::str, uint64_t>>;

/// How often a wait looks for signals: well inside the 100 ms in which Ctrl-C shall end it.
constexpr std::chrono::milliseconds look_up_interval{20};

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

template <class Choice>
Choice chosen(const char* what, const std::string& text, std::initializer_list<std::pair<const char*, Choice>> known) {
  for (const auto& [word, choice] : known)
    if (text == word)
      return choice;
  throw failure{{.code = errc::bad_argument, .what = std::string{"there is no "} + what + " '" + text + "'"}};
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  return nb::inst_ptr<leased_file>(nb::handle(self))->fill(self, view, flags);
}

/// Waits until the work says that it is over, and looks for signals meanwhile.
template <class Work>
void wait_with_signals(Work is_over) {
  for (bool over = false; !over;) {
    {
      const nb::gil_scoped_release others_run;
      over = is_over();
    }
    if (!over && PyErr_CheckSignals() != 0)
      throw nb::python_error();
  }
}

std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds{static_cast<int64_t>(seconds * 1e3)};
}

/// What `Runtime.__init__` names, under the same names.
std::unique_ptr<runtime_handle> start(const named_values& wanted) {
  runtime_options options;
  options.host_limit_bytes = nb::cast<uint64_t>(wanted["host_limit"]);
  options.pin_budget_bytes = nb::cast<std::optional<uint64_t>>(wanted["pin_budget"]);
  options.streams = nb::cast<size_t>(wanted["streams"]);
  options.staging_bytes = nb::cast<uint64_t>(wanted["staging"]);
  options.warm_bytes = nb::cast<uint64_t>(wanted["warm"]);
  options.memory_timeout = milliseconds_of(nb::cast<double>(wanted["memory_timeout"]));
  options.pressure_interval = milliseconds_of(nb::cast<double>(wanted["pressure_interval"]));
  options.trace_path = nb::cast<std::string>(wanted["trace"]);
  options.engine.kind = chosen<engine_kind>(
      "engine", nb::cast<std::string>(wanted["engine"]),
      {{"auto", engine_kind::automatic}, {"io_uring", engine_kind::io_uring}, {"threads", engine_kind::threads}});
  const auto device = nb::cast<std::string>(wanted["device"]);
  host_device_options of_host;
  of_host.capacity_bytes = nb::cast<uint64_t>(wanted["host_device_capacity"]);
  const nb::gil_scoped_release others_run;
  if (!device.empty())
    options.target = value_or_raise(find_device(device, of_host));
  options.device_is_shared = device != "host";  // which is ordinary memory that nobody else uses
  return value_or_raise(runtime_handle::start(std::move(options)));
}

model_kind kind_of(const std::string& text) {
  if (const auto kind = model_kind_from_name(text))
    return *kind;
  std::string known;
  for (const auto kind : all_model_kinds)
    known += (known.empty() ? "" : ", ") + std::string{name(kind)};
  throw failure{{.code = errc::bad_argument, .what = "there is no kind '" + text + "'; the kinds are " + known}};
}

cache_mode mode_of(const std::string& text) {
  if (const auto mode = cache_mode_from_name(text))
    return *mode;
  throw failure{{.code = errc::bad_argument, .what = "there is no mode '" + text + "'"}};
}

/// What `Runtime.load` names, under the same names.
std::shared_ptr<pending_load> begin(runtime_handle& runtime, const named_values& wanted) {
  load_order order;
  order.paths = nb::cast<std::vector<std::string>>(wanted["paths"]);
  order.key = nb::cast<std::string>(wanted["key"]);
  if (const auto kind = nb::cast<std::string>(wanted["kind"]); !kind.empty())
    order.kind = kind_of(kind);
  order.mode = mode_of(nb::cast<std::string>(wanted["mode"]));
  order.how.hold = chosen<hold_choice>("hold", nb::cast<std::string>(wanted["hold"]),
                                       {{"auto", hold_choice::automatic},
                                        {"owned", hold_choice::owned},
                                        {"pinned", hold_choice::pinned},
                                        {"mapped", hold_choice::mapped},
                                        {"device", hold_choice::device}});
  order.how.cast_to = nb::cast<std::string>(wanted["dtype"]);
  order.how.host_copy = nb::cast<bool>(wanted["host_copy"]);
  order.urgent = nb::cast<bool>(wanted["urgent"]);
  order.keep = nb::cast<bool>(wanted["keep"]);
  order.tells = nb::cast<bool>(wanted["tells"]);
  order.deadline = milliseconds_of(nb::cast<double>(wanted["deadline"]));
  const nb::gil_scoped_release others_run;
  return value_or_raise(runtime.begin(order));
}

std::shared_ptr<pending_load> begin_put(runtime_handle& runtime, uint64_t number, const named_values& wanted) {
  put_object object{.key = nb::cast<std::string>(wanted["key"]),
                    .kind = kind_of(nb::cast<std::string>(wanted["kind"])),
                    .mode = mode_of(nb::cast<std::string>(wanted["mode"])),
                    .bytes = nb::cast<uint64_t>(wanted["size"]),
                    .keep = nb::cast<bool>(wanted["keep"]),
                    .deadline = milliseconds_of(nb::cast<double>(wanted["deadline"]))};
  const nb::gil_scoped_release others_run;
  return value_or_raise(runtime.begin_put(std::move(object), number));
}

/// The number of the object that a load was answered with, if it was one.
std::optional<uint64_t> object_of(const pending_load& load) {
  const auto& [lease, hit] = value_or_raise(load.result());
  const auto& object = lease->model().object;
  return object ? std::optional(*static_cast<const uint64_t*>(object.get())) : std::nullopt;
}

/// Whether it was answered within these seconds; Ctrl-C ends the wait at once.
bool wait(pending_load& load, double seconds) {
  const auto end = std::chrono::steady_clock::now() + milliseconds_of(seconds);
  bool answered = false;
  wait_with_signals([&] {
    answered = load.wait_for(look_up_interval);
    return answered || std::chrono::steady_clock::now() >= end;
  });
  return answered;
}

/// The lease of a load that was answered, as (key, kind, generation, hit, files); raises what went wrong.
lease_parts taken(const pending_load& load, bool writable) {
  const auto& [lease, hit] = value_or_raise(load.result());
  const auto& model = lease->model();
  nb::list files;
  for (const auto& file : model.files)
    files.append(nb::cast(leased_file(lease, *file, writable)));
  for (const auto& file : model.device_files)
    files.append(nb::cast(leased_file(lease, *file, writable)));
  return nb::make_tuple(model.key, name(model.kind).data(), model.generation, hit, files);
}

progress_parts progress_of(const pending_load& load) {
  const auto state = load.state();
  return nb::make_tuple(state.done_bytes, state.total_bytes, name(state.stage));
}

/// A call that the runtime answers soon, while other threads of Python run.
template <class Work>
auto ask(runtime_handle& runtime, Work work) {
  const nb::gil_scoped_release others_run;
  return value_or_raise(runtime.with(std::move(work)));
}

template <class Status>
named_values show(runtime_handle& handle, expected<Status> (runtime::*what)()) {
  return dict_of(ask(handle, [=](runtime& running) { return (running.*what)(); }));
}

/// Tells what went wrong; an expected<void> has no value to give.
template <class Work>
void order(runtime_handle& runtime, Work work) {
  const nb::gil_scoped_release others_run;
  if (auto done = runtime.with(std::move(work)); !done)
    throw failure{std::move(done.error())};
}

/// [(kind, number)] of what has happened, empty when nothing did in time; None once the runtime is closed.
std::optional<list_of_events> next_events(load_board& board, double seconds) {
  std::optional<std::vector<event>> news;
  {
    const nb::gil_scoped_release others_run;
    news = board.next_events(milliseconds_of(seconds));
  }
  if (!news)
    return std::nullopt;
  nb::list all;
  for (const auto& [kind, number] : *news)
    all.append(nb::make_tuple(kind == event_kind::answered     ? "answered"
                              : kind == event_kind::progressed ? "progressed"
                                                               : "dropped",
                              number));
  return all;
}

nb::typed<nb::list, named_values> loads_under_way(const runtime_handle& handle) {
  nb::list all;
  for (const auto& news : handle.board()->under_way())
    all.append(dict_of(news));
  return all;
}

/// The files of a model without a load: mapped, and read from the page cache or the disk where they are used.
list_of_files open_mapped(const std::string& path) {
  std::vector<std::shared_ptr<const held_file>> mapped;
  {
    const nb::gil_scoped_release others_run;
    for (const auto& source : value_or_raise(find_source({path}, {.hold = hold_choice::mapped})).files) {
      auto opened = value_or_raise(open_model(source));
      mapped.push_back(
          std::make_shared<const held_file>(source.path, opened.header, value_or_raise(mapping::of(opened.file))));
    }
  }
  nb::list files;
  for (const auto& file : mapped)
    files.append(nb::cast(leased_file(file, *file, true)));
  return files;
}

preload_config read_config(const std::string& text, const std::string& path) {
  return value_or_raise(parse_preload_config(text, path));
}

}  // namespace
}  // namespace longshore::python

NB_MODULE(_core, m) {
  using namespace longshore;
  using namespace longshore::python;
  // Views of weights live as long as people please, past the end of the interpreter too.
  nb::set_leak_warnings(false);
  nb::register_exception_translator(translate);
  static PyType_Slot buffer_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)}, {0, nullptr}};
  nb::class_<leased_file>(m, "File", nb::type_slots(buffer_slots))
      .def_prop_ro("path", &leased_file::path)
      .def_prop_ro("device", &leased_file::device)
      .def_prop_ro("is_mapped", &leased_file::is_mapped)
      .def_prop_ro("address", &leased_file::address)
      .def_prop_ro("size", &leased_file::size_bytes)
      .def("metadata", &leased_file::metadata)
      .def("tensors", &leased_file::tensors);
  nb::class_<pending_load>(m, "PendingLoad")
      .def_prop_ro("number", &pending_load::number)
      .def("wait", &python::wait, nb::arg("seconds"))
      .def("taken", &taken, nb::arg("writable"))
      .def("object", &object_of)
      .def("progress", &progress_of)
      .def("cancel", [](const pending_load& load) { load.handle.cancel(); });
  nb::class_<load_board>(m, "Events").def("next", &next_events, nb::arg("seconds"));
  nb::class_<runtime_handle>(m, "Runtime")
      .def("begin", &begin, nb::arg("wanted"))
      .def("begin_put", &begin_put, nb::arg("number"), nb::arg("wanted"))
      .def("close", &runtime_handle::close, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("events", &runtime_handle::board)
      .def("loads_under_way", &loads_under_way)
      .def("entries", [](runtime_handle& r) { return show(r, &runtime::list); })
      .def("budget", [](runtime_handle& r) { return show(r, &runtime::budget); })
      .def("pressure", [](runtime_handle& r) { return show(r, &runtime::pressure); })
      .def("staging", [](runtime_handle& r) { return show(r, &runtime::staging); })
      .def(
          "remove",
          [](runtime_handle& r, const std::string& key) { order(r, [&](runtime& it) { return it.remove(key); }); },
          nb::arg("key"))
      .def(
          "generation",
          [](runtime_handle& r, const std::string& key) {
            return ask(r, [&](runtime& it) { return it.generation(key); });
          },
          nb::arg("key"))
      .def("clear", [](runtime_handle& r) { order(r, [](runtime& it) { return it.clear(); }); })
      .def(
          "keep",
          [](runtime_handle& r, const std::string& key, bool keep) {
            order(r, [&](runtime& it) { return it.keep(key, keep); });
          },
          nb::arg("key"), nb::arg("keep"))
      .def(
          "begin_trace",
          [](runtime_handle& r, const std::string& path) {
            order(r, [&](runtime& it) { return it.begin_trace(path); });
          },
          nb::arg("path"))
      .def("finish_trace", [](runtime_handle& r) { order(r, [](runtime& it) { return it.finish_trace(); }); })
      .def_prop_ro("engine",
                   [](runtime_handle& r) {
                     return ask(r, [](runtime& it) -> expected<std::string> { return std::string{it.engine_name()}; });
                   })
      .def_prop_ro("host_limit", [](runtime_handle& r) {
        return ask(r, [](runtime& it) -> expected<uint64_t> { return it.host_limit_bytes(); });
      });
  add_streams(m);
  m.def("open_mapped", &open_mapped, nb::arg("path"));
  m.def("start", &start, nb::arg("wanted"));
  m.def(
      "read_config",
      [](const std::string& text, const std::string& path) -> named_values { return dict_of(read_config(text, path)); },
      nb::arg("text"), nb::arg("path"));
  m.def(
      "find_model",
      [](const std::vector<std::string>& roots, const std::string& kind, const std::string& name) {
        return value_or_raise(find_model_file(roots, kind_of(kind), name));
      },
      nb::arg("roots"), nb::arg("kind"), nb::arg("name"));
}
