#include "apple/staging.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>

#include "blob/mapped_file.h"
#include "core/error.h"

namespace milane::apple {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& path, const std::string& expected,
                       const std::string& got) {
  throw Error(ErrorCode::kFile, path + ": expected " + expected + ", got " + got,
              "the compiler reads programs from the temporary folder: check its space and rights")
      .during("staging");
}

std::string last_error() { return std::strerror(errno); }

// A folder that this process leases.
struct Leased {
  std::weak_ptr<StagingFolder> folder;
  int lock = -1;
  bool created = false;  // by us
};
struct Leases {
  std::mutex mutex;
  std::map<std::string, Leased> folders;
};
Leases& leases() {
  static Leases* const all = new Leases;  // outlives kernels that are closed at exit
  return *all;
}

std::string lock_name(const std::string& folder) { return folder + ".milane-lock"; }

// The lock file, shared-locked. A file that its last holder removed meanwhile is no lock.
int lock_shared(const std::string& folder) {
  const std::string name = lock_name(folder);
  for (;;) {
    const int fd = open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) fail(name, "a lock file", last_error());
    struct stat held{}, named{};
    while (flock(fd, LOCK_SH) != 0) {
      if (errno == EINTR) continue;
      const std::string why = last_error();
      close(fd);
      fail(name, "a file that can be locked", why);
    }
    if (fstat(fd, &held) == 0 && stat(name.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
        held.st_dev == named.st_dev) {
      return fd;
    }
    close(fd);
  }
}

// The folder, locked against removal by other processes.
Leased create(const std::string& path) {
  Leased leased;
  leased.lock = lock_shared(path);
  std::error_code error;
  leased.created = fs::create_directories(path, error);
  if (error) {
    close(leased.lock);
    fail(path, "a folder that can be created", error.message());
  }
  return leased;
}

bool same_content(const fs::path& path, const StagedFile& file) {
  std::error_code error;
  if (fs::file_size(path, error) != file.bytes || error) return false;
  if (file.bytes == 0) return true;
  const auto present = blob::MappedFile::open(path.string());
  return std::memcmp(present->bytes().data(), file.data, file.bytes) == 0;
}

void write_all(int fd, const StagedFile& file, const std::string& name) {
  std::size_t done = 0;
  while (done < file.bytes) {
    const ssize_t n = ::write(fd, file.data + done, file.bytes - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const std::string why = last_error();
      close(fd);
      unlink(name.c_str());
      fail(name, "to write " + std::to_string(file.bytes) + " bytes", why);
    }
    done += static_cast<std::size_t>(n);
  }
}

}  // namespace

std::vector<StagedFile> program_files(const std::string& text, const WeightFiles& weights) {
  static constexpr std::string_view kModelPath = "@model_path/";
  std::vector<StagedFile> files{
      {"model.mil", reinterpret_cast<const std::byte*>(text.data()), text.size()}};
  for (const auto& [key, file] : weights) {
    const std::string path = key.starts_with(kModelPath) ? key.substr(kModelPath.size()) : key;
    files.push_back({path, file->bytes().data(), file->bytes().size()});
  }
  return files;
}

void write_staged(const std::string& folder, const StagedFile& file) {
  const fs::path relative(file.path);
  for (const auto& part : relative) {
    if (part == ".." || relative.is_absolute()) {
      fail(file.path, "a path inside the model's folder", "one that leaves it");
    }
  }
  const fs::path target = fs::path(folder) / relative;
  if (same_content(target, file)) return;
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  std::string name = target.string() + ".XXXXXX";
  const int fd = mkstemp(name.data());
  if (fd < 0) fail(target.string(), "a file that can be written", last_error());
  write_all(fd, file, name);
  fchmod(fd, 0644);  // the compiler is another process
  close(fd);
  fs::rename(name, target, error);
  if (error) {
    unlink(name.c_str());
    fail(target.string(), "a file that can be replaced", error.message());
  }
}

std::shared_ptr<StagingFolder> StagingFolder::lease(const std::string& path,
                                                    const std::vector<StagedFile>& files) {
  Leases& all = leases();
  std::shared_ptr<StagingFolder> folder;  // outlives the lock: its destructor takes it, too
  const std::lock_guard lock(all.mutex);
  const auto known = all.folders.find(path);
  if (known != all.folders.end()) folder = known->second.folder.lock();
  if (!folder) {
    // Known, though without a lease: the last one's destructor waits for our lock. It will find
    // that the folder is in use again.
    if (known == all.folders.end()) all.folders[path] = create(path);
    folder.reset(new StagingFolder(path));
    all.folders[path].folder = folder;
  }
  for (const StagedFile& file : files) write_staged(path, file);
  return folder;
}

StagingFolder::~StagingFolder() {
  Leases& all = leases();
  const std::lock_guard lock(all.mutex);
  const auto it = all.folders.find(path_);
  if (it == all.folders.end() || !it->second.folder.expired()) return;  // leased again meanwhile
  if (flock(it->second.lock, LOCK_EX | LOCK_NB) == 0) {                 // no other process holds it
    std::error_code ignored;
    if (it->second.created) fs::remove_all(path_, ignored);
    unlink(lock_name(path_).c_str());
  }
  close(it->second.lock);
  all.folders.erase(it);
}

std::string make_private_folder(const std::string& temporary_folder) {
  std::string name = (fs::path(temporary_folder) / "milane-XXXXXX").string();
  if (!mkdtemp(name.data())) fail(name, "a folder that can be created", last_error());
  return name;
}

}  // namespace milane::apple
