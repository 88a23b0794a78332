#include "host/host_surface.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/aligned.h"
#include "core/error.h"

namespace milane::host {
namespace {

constexpr std::size_t kPage = 4096;
#if defined(MILANE_GUARDS)
constexpr std::size_t kGuardBytes = kPage;
constexpr int kGuardByte = 0xA5;
#else
constexpr std::size_t kGuardBytes = 0;
#endif

class HostSurface final : public Surface {
 public:
  explicit HostSurface(const TensorLayout& layout) : layout_(layout) {
    // A whole number of pages, so that vector loads past the last row stay inside.
    const std::size_t body = (layout.alloc_size() + kPage - 1) / kPage * kPage;
    memory_ = aligned_bytes(body + 2 * kGuardBytes, kPage);
    base_ = memory_.get() + kGuardBytes;
    std::memset(base_, 0, body);
#if defined(MILANE_GUARDS)
    std::memset(memory_.get(), kGuardByte, kGuardBytes);
    std::memset(base_ + body, kGuardByte, kGuardBytes);
    body_ = body;
#endif
  }
  ~HostSurface() override { check_guards(); }

  const TensorLayout& layout() const override { return layout_; }
  std::byte* data() const override { return base_; }
  void lock(bool) override {}
  void unlock(bool) override { check_guards(); }
  std::uintptr_t handle() const override { return reinterpret_cast<std::uintptr_t>(base_); }

 private:
  // A broken guard means memory is already corrupt: stop at once, in the builds that ask for it.
  void check_guards() const {
#if defined(MILANE_GUARDS)
    for (std::size_t i = 0; i < kGuardBytes; ++i) {
      if (memory_.get()[i] != std::byte{kGuardByte} || base_[body_ + i] != std::byte{kGuardByte}) {
        std::fprintf(stderr, "milane: a write went past a surface of shape %s\n",
                     to_string(layout_.shape()).c_str());
        std::abort();
      }
    }
#endif
  }

  TensorLayout layout_;
  std::shared_ptr<std::byte> memory_;
  std::byte* base_ = nullptr;
#if defined(MILANE_GUARDS)
  std::size_t body_ = 0;
#endif
};

}  // namespace

SurfacePtr make_host_surface(const TensorLayout& layout) {
  return std::make_shared<HostSurface>(layout);
}

}  // namespace milane::host
