// A file system that keeps sorted files while the MANIFEST is in doubt.
#pragma once

#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "rocksdb/file_system.h"

namespace cairn {

using rocksdb::DirFsyncOptions;
using rocksdb::FileOptions;
using rocksdb::FileSystem;
using rocksdb::FileSystemWrapper;
using rocksdb::FSDirectory;
using rocksdb::FSDirectoryWrapper;
using rocksdb::FSWritableFile;
using rocksdb::FSWritableFileOwnerWrapper;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// Which folders have a MANIFEST of which nobody knows what it says.
//
// A write or sync of it that fails leaves its last record in doubt, and a failing sync of
// the folder does the same to a MANIFEST that was just made current: the next open may find
// the record or not. A sorted file that the record adds has to be there if it does. RocksDB keeps
// what its flushes and compactions made in that case, but an ingest that fails removes the
// file it had linked, and the store does not open again. So while there is doubt, nothing
// with the ending `.sst` is removed from the folder; the next open removes what the
// MANIFEST does not name. The doubt ends when a new MANIFEST is made current.
class Doubts {
 public:
  // `file`, a MANIFEST or CURRENT, could not be written, synced or renamed: its folder is in doubt.
  void Begin(const std::string& file) { BeginFolder(Folder(file)); }
  // `folder` could not be synced.
  void BeginFolder(std::string folder) {
    while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
    std::lock_guard<std::mutex> lock(mutex_);
    folders_.insert(std::move(folder));
  }
  // `current`, which names the MANIFEST, was replaced.
  void End(const std::string& current) {
    std::lock_guard<std::mutex> lock(mutex_);
    folders_.erase(Folder(current));
  }
  bool Holds(const std::string& file) {
    std::lock_guard<std::mutex> lock(mutex_);
    return folders_.count(Folder(file)) != 0;
  }

 private:
  static std::string Folder(const std::string& path) {
    return path.substr(0, path.find_last_of('/'));
  }

  std::mutex mutex_;
  std::set<std::string> folders_;
};

// A MANIFEST: every failure of it begins a doubt.
class ManifestFile final : public FSWritableFileOwnerWrapper {
 public:
  ManifestFile(std::unique_ptr<FSWritableFile>&& file, std::string name,
               Doubts* doubts)
      : FSWritableFileOwnerWrapper(std::move(file)),
        name_(std::move(name)),
        doubts_(doubts) {}

  IOStatus Append(const Slice& data, const IOOptions& options,
                  IODebugContext* dbg) override {
    return Seen(FSWritableFileOwnerWrapper::Append(data, options, dbg));
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& verification,
                  IODebugContext* dbg) override {
    return Seen(FSWritableFileOwnerWrapper::Append(data, options, verification, dbg));
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* dbg) override {
    return Seen(FSWritableFileOwnerWrapper::Flush(options, dbg));
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* dbg) override {
    return Seen(FSWritableFileOwnerWrapper::Sync(options, dbg));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* dbg) override {
    return Seen(FSWritableFileOwnerWrapper::Fsync(options, dbg));
  }
  IOStatus RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options,
                     IODebugContext* dbg) override {
    return Seen(FSWritableFileOwnerWrapper::RangeSync(offset, bytes, options, dbg));
  }
  IOStatus Close(const IOOptions& options, IODebugContext* dbg) override {
    return Seen(FSWritableFileOwnerWrapper::Close(options, dbg));
  }

 private:
  IOStatus Seen(IOStatus status) {
    if (!status.ok()) doubts_->Begin(name_);
    return status;
  }

  std::string name_;
  Doubts* doubts_;
};

// The folder of a database: a sync of it that fails begins a doubt.
class DatabaseFolder final : public FSDirectoryWrapper {
 public:
  DatabaseFolder(std::unique_ptr<FSDirectory>&& folder, std::string name,
                 Doubts* doubts)
      : FSDirectoryWrapper(std::move(folder)),
        name_(std::move(name)),
        doubts_(doubts) {}

  IOStatus Fsync(const IOOptions& options, IODebugContext* dbg) override {
    return Seen(FSDirectoryWrapper::Fsync(options, dbg));
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* dbg,
                               const DirFsyncOptions& why) override {
    return Seen(FSDirectoryWrapper::FsyncWithDirOptions(options, dbg, why));
  }

 private:
  IOStatus Seen(IOStatus status) {
    if (!status.ok()) doubts_->BeginFolder(name_);
    return status;
  }

  std::string name_;
  Doubts* doubts_;
};

class KeepingFileSystem final : public FileSystemWrapper {
 public:
  explicit KeepingFileSystem(const std::shared_ptr<FileSystem>& target)
      : FileSystemWrapper(target) {}

  const char* Name() const override { return "CairnKeepingFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const FileOptions& options,
                           std::unique_ptr<FSWritableFile>* file,
                           IODebugContext* dbg) override {
    return Watched(FileSystemWrapper::NewWritableFile(name, options, file, dbg), name, file);
  }

  IOStatus ReopenWritableFile(const std::string& name, const FileOptions& options,
                              std::unique_ptr<FSWritableFile>* file,
                              IODebugContext* dbg) override {
    return Watched(FileSystemWrapper::ReopenWritableFile(name, options, file, dbg), name,
                   file);
  }

  IOStatus NewDirectory(const std::string& name, const IOOptions& options,
                        std::unique_ptr<FSDirectory>* folder,
                        IODebugContext* dbg) override {
    IOStatus status = FileSystemWrapper::NewDirectory(name, options, folder, dbg);
    if (status.ok()) {
      *folder = std::make_unique<DatabaseFolder>(std::move(*folder), name, &doubts_);
    }
    return status;
  }

  // Linux says EPERM where a file system has no hard links, or does not let us make one. RocksDB copies
  // what it was to link only if that is not supported.
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions& options,
                    IODebugContext* dbg) override {
    IOStatus status = FileSystemWrapper::LinkFile(from, to, options, dbg);
    const bool refused = status.IsIOError() &&
                         status.ToString().find(std::strerror(EPERM)) != std::string::npos;
    return refused ? IOStatus::NotSupported(status.ToString()) : status;
  }

  IOStatus RenameFile(const std::string& from, const std::string& to,
                      const IOOptions& options, IODebugContext* dbg) override {
    IOStatus status = FileSystemWrapper::RenameFile(from, to, options, dbg);
    if (Base(to) == "CURRENT") {
      if (status.ok()) {
        doubts_.End(to);
      } else {
        doubts_.Begin(to);
      }
    }
    return status;
  }

  IOStatus DeleteFile(const std::string& name, const IOOptions& options,
                      IODebugContext* dbg) override {
    const std::string ending = ".sst";
    if (name.size() > ending.size() &&
        name.compare(name.size() - ending.size(), ending.size(), ending) == 0 &&
        doubts_.Holds(name)) {
      return IOStatus::IOError("kept until the store is opened again", name);
    }
    return FileSystemWrapper::DeleteFile(name, options, dbg);
  }

 private:
  IOStatus Watched(IOStatus status, const std::string& name,
                   std::unique_ptr<FSWritableFile>* file) {
    if (status.ok() && Base(name).rfind("MANIFEST-", 0) == 0) {
      *file = std::make_unique<ManifestFile>(std::move(*file), name, &doubts_);
    }
    return status;
  }

  static std::string Base(const std::string& path) {
    return path.substr(path.find_last_of('/') + 1);
  }

  Doubts doubts_;
};

}  // namespace cairn
