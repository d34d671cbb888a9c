// A disk for tests: power cuts by RocksDB's own fault-injection file system, a sync of
// the MANIFEST or of a folder that fails once, and no hard links; and one that counts how trash is cut.
// An object file of its own, which only tests link.
//
// From the top: what keeps files in doubt, as in every store; what lets a sync
// fail; the fault-injection file system, which ignores that syncs under it fail; one that
// forgives; the real file system.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "cutting.h"
#include "keeping.h"
#include "rocksdb/env.h"
#include "rocksdb/options.h"
#include "utilities/fault_injection_fs.h"

using namespace cairn;
using rocksdb::Env;
using rocksdb::FaultInjectionTestFS;

namespace {

class FailingSync final : public FSWritableFileOwnerWrapper {
 public:
  FailingSync(std::unique_ptr<FSWritableFile>&& file, std::atomic<int>* left)
      : FSWritableFileOwnerWrapper(std::move(file)), left_(left) {}

  IOStatus Sync(const IOOptions& options, IODebugContext* dbg) override {
    if (left_->fetch_sub(1) == 1) return IOStatus::IOError("a sync that fails");
    return FSWritableFileOwnerWrapper::Sync(options, dbg);
  }

 private:
  std::atomic<int>* left_;
};

class FailingFolder final : public FSDirectoryWrapper {
 public:
  FailingFolder(std::unique_ptr<FSDirectory>&& folder, std::atomic<int>* left)
      : FSDirectoryWrapper(std::move(folder)), left_(left) {}

  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* dbg,
                               const DirFsyncOptions& why) override {
    if (left_->fetch_sub(1) == 1) return IOStatus::IOError("a sync that fails");
    return FSDirectoryWrapper::FsyncWithDirOptions(options, dbg, why);
  }

 private:
  std::atomic<int>* left_;
};

class FailingFileSystem final : public FileSystemWrapper {
 public:
  explicit FailingFileSystem(const std::shared_ptr<FileSystem>& target)
      : FileSystemWrapper(target) {}

  const char* Name() const override { return "CairnFailingFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const FileOptions& options,
                           std::unique_ptr<FSWritableFile>* file,
                           IODebugContext* dbg) override {
    IOStatus status = FileSystemWrapper::NewWritableFile(name, options, file, dbg);
    if (status.ok() && name.find("/MANIFEST-") != std::string::npos) {
      *file = std::make_unique<FailingSync>(std::move(*file), &left_);
    }
    return status;
  }

  IOStatus NewDirectory(const std::string& name, const IOOptions& options,
                        std::unique_ptr<FSDirectory>* folder,
                        IODebugContext* dbg) override {
    IOStatus status = FileSystemWrapper::NewDirectory(name, options, folder, dbg);
    if (status.ok()) *folder = std::make_unique<FailingFolder>(std::move(*folder), &left_);
    return status;
  }

  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions& options,
                    IODebugContext* dbg) override {
    // What Linux says of file systems without them.
    if (!links_) return IOStatus::IOError("link", std::strerror(EPERM));
    return FileSystemWrapper::LinkFile(from, to, options, dbg);
  }

  // Syncs up to and with the one that fails; none does below 1.
  std::atomic<int> left_{0};
  std::atomic<bool> links_{true};
};

// A cut removes files whose names were not synced; what is gone already is no error.
class ForgivingFileSystem final : public FileSystemWrapper {
 public:
  explicit ForgivingFileSystem(const std::shared_ptr<FileSystem>& target)
      : FileSystemWrapper(target) {}

  const char* Name() const override { return "CairnForgivingFileSystem"; }

  IOStatus DeleteFile(const std::string& name, const IOOptions& options,
                      IODebugContext* dbg) override {
    IOStatus status = FileSystemWrapper::DeleteFile(name, options, dbg);
    return status.IsPathNotFound() || status.IsNotFound() ? IOStatus::OK() : status;
  }
};

// What reached the disk of a file that was cut.
struct Cuts {
  uint64_t cuts = 0;
  uint64_t syncs = 0;
  // Since the last sync, and the most of it that there ever was.
  uint64_t unsynced = 0;
  uint64_t unsynced_max = 0;

  void Cut(uint64_t bytes) {
    ++cuts;
    unsynced += bytes;
    unsynced_max = std::max(unsynced_max, unsynced);
  }
};

class CountedFile final : public FSWritableFileOwnerWrapper {
 public:
  CountedFile(std::unique_ptr<FSWritableFile>&& file, uint64_t size, Cuts* cuts)
      : FSWritableFileOwnerWrapper(std::move(file)), size_(size), cuts_(cuts) {}

  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* dbg) override {
    cuts_->Cut(size_ - size);
    size_ = size;
    return FSWritableFileOwnerWrapper::Truncate(size, options, dbg);
  }

  IOStatus Fsync(const IOOptions& options, IODebugContext* dbg) override {
    ++cuts_->syncs;
    cuts_->unsynced = 0;
    return FSWritableFileOwnerWrapper::Fsync(options, dbg);
  }

 private:
  uint64_t size_;
  Cuts* cuts_;
};

class CountingFileSystem final : public FileSystemWrapper {
 public:
  CountingFileSystem(const std::shared_ptr<FileSystem>& target, Cuts* cuts)
      : FileSystemWrapper(target), cuts_(cuts) {}

  const char* Name() const override { return "CairnCountingFileSystem"; }

  IOStatus ReopenWritableFile(const std::string& name, const FileOptions& options,
                              std::unique_ptr<FSWritableFile>* file,
                              IODebugContext* dbg) override {
    uint64_t size = 0;
    IOStatus status = FileSystemWrapper::GetFileSize(name, IOOptions(), &size, dbg);
    if (status.ok()) {
      status = FileSystemWrapper::ReopenWritableFile(name, options, file, dbg);
    }
    if (status.ok()) *file = std::make_unique<CountedFile>(std::move(*file), size, cuts_);
    return status;
  }

 private:
  Cuts* cuts_;
};

}  // namespace

struct cairn_faulty_disk {
  std::shared_ptr<FaultInjectionTestFS> faults;
  std::shared_ptr<FailingFileSystem> failing;
  std::unique_ptr<Env> env;
};

extern "C" {

// Removes a file of the trash as RocksDB's file manager does: a chunk is cut, synced and closed, again and again, and
// what is left is removed. `found` gets the cuts, the syncs, and the most bytes that were cut between two
// syncs. 0 if that went well.
int cairn_cut_trash(const char* path, uint64_t chunk_bytes, uint64_t step_bytes,
                    uint64_t found[3]) {
  Cuts cuts;
  CuttingFileSystem disk(std::make_shared<CountingFileSystem>(FileSystem::Default(), &cuts));
  disk.pace().Set(uint64_t{1} << 50, step_bytes, 0);
  uint64_t left = 0;
  IOStatus status = disk.GetFileSize(path, IOOptions(), &left, nullptr);
  while (status.ok() && left > chunk_bytes) {
    left -= chunk_bytes;
    std::unique_ptr<FSWritableFile> file;
    status = disk.ReopenWritableFile(path, FileOptions(), &file, nullptr);
    if (status.ok()) status = file->Truncate(left, IOOptions(), nullptr);
    if (status.ok()) status = file->Fsync(IOOptions(), nullptr);
    if (status.ok()) status = file->Close(IOOptions(), nullptr);
  }
  if (status.ok()) status = disk.DeleteFile(path, IOOptions(), nullptr);
  found[0] = cuts.cuts;
  found[1] = cuts.syncs;
  found[2] = cuts.unsynced_max;
  return status.ok() ? 0 : 1;
}

// Never freed: a database may outlive everything else, and this is for tests.
cairn_faulty_disk* cairn_faulty_disk_new(int loses) {
  auto* disk = new cairn_faulty_disk;
  disk->faults = std::make_shared<FaultInjectionTestFS>(
      std::make_shared<ForgivingFileSystem>(FileSystem::Default()));
  disk->faults->SetInjectUnsyncedDataLoss(loses != 0);
  disk->failing = std::make_shared<FailingFileSystem>(disk->faults);
  disk->env = rocksdb::NewCompositeEnv(std::make_shared<KeepingFileSystem>(disk->failing));
  return disk;
}

// A MANIFEST of `manifest_bytes` is the last of its name; 0 for RocksDB's own rule.
void cairn_faulty_disk_attach(cairn_faulty_disk* disk, void* options,
                              uint64_t manifest_bytes) {
  auto* given = static_cast<rocksdb::Options*>(options);
  given->env = disk->env.get();
  if (manifest_bytes != 0) {
    given->max_manifest_file_size = manifest_bytes;
    given->max_manifest_space_amp_pct = 0;
  }
}

// The nth sync of a MANIFEST or folder from now on fails, counted from 1. Answers what was left
// of the number before: above 0 if its sync did not come.
int cairn_faulty_disk_fail_sync(cairn_faulty_disk* disk, int nth) {
  return disk->failing->left_.exchange(nth);
}

// From now on there are no hard links.
void cairn_faulty_disk_unlinkable(cairn_faulty_disk* disk) { disk->failing->links_ = false; }

// From now on nothing reaches the disk.
void cairn_faulty_disk_off(cairn_faulty_disk* disk) {
  disk->faults->SetFilesystemActive(false, IOStatus::IOError("the power is gone"));
}

// What was not synced is lost; then the disk works again. 0 if that went well.
int cairn_faulty_disk_on(cairn_faulty_disk* disk) {
  IOStatus lost = disk->faults->DropUnsyncedFileData();
  disk->faults->SetFilesystemActive(true);
  IOStatus gone =
      disk->faults->DeleteFilesCreatedAfterLastDirSync(IOOptions(), nullptr);
  disk->faults->ResetState();
  return lost.ok() && gone.ok() ? 0 : 1;
}

}  // extern "C"
