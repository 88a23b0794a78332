// The folder of compile results.
#include <pybind11/stl.h>

#include "backend/compile_cache.h"
#include "bindings/bindings.h"
#include "core/hash.h"
#include "host/baking.h"

namespace py = pybind11;

namespace milane::bindings {
namespace {

py::tuple row(const CacheEntry& entry) {
  return py::make_tuple(entry.key, entry.label, entry.build, entry.bytes, entry.created_ns,
                        entry.used_ns);
}

py::list rows(const std::vector<CacheEntry>& entries) {
  py::list all;
  for (const CacheEntry& entry : entries) all.append(row(entry));
  return all;
}

std::string hash_of(const py::buffer& data) {
  const py::buffer_info info = data.request();
  const auto bytes = static_cast<std::size_t>(info.size * info.itemsize);
  const std::span<const std::byte> part(static_cast<const std::byte*>(info.ptr), bytes);
  return to_string(host::parallel_hashes(std::span(&part, 1)).front());
}

}  // namespace

void bind_cache(py::module_& m) {
  py::class_<CompileCache, std::shared_ptr<CompileCache>>(
      m, "CompileCache", "A folder of compile results; see milane.cache.")
      .def(py::init(
               [](const std::string& folder, std::uint64_t limit_bytes, const std::string& build) {
                 return std::make_shared<CompileCache>(folder, limit_bytes, build,
                                                       host::parallel_hashes);
               }),
           py::arg("folder"), py::arg("limit_bytes"), py::arg("build"))
      .def(
          "entries", [](const CompileCache& c) { return rows(c.entries()); },
          "(key, label, build, bytes, created_ns, used_ns) of each, the least recently used first.")
      .def(
          "clear",
          [](CompileCache& c, std::int64_t used_before_ns, std::uint64_t keep_bytes) {
            return rows(c.clear(used_before_ns, keep_bytes));
          },
          py::arg("used_before_ns"), py::arg("keep_bytes"),
          "Removes what was used before, then the least recently used; returns those removed.")
      .def("take_problem", &CompileCache::take_problem,
           "Why an entry could not be written, once; else \"\".");
  m.def(
      "cache_counts",
      [] {
        const CacheCounts counts = CompileCache::counts();
        return py::make_tuple(counts.hits, counts.misses);
      },
      "(hits, misses) of this process.");
  m.def("hash128", &hash_of, py::arg("data"),
        "The cache's hash of contiguous bytes: 32 hexadecimal digits.");
}

}  // namespace milane::bindings
