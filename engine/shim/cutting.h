// A file system for RocksDB's trash: what goes, goes in steps whose size and pace we choose. The
// file manager's own rate is set so high that it never waits.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "rocksdb/file_system.h"

namespace cairn {

// How trash goes; may change at any time.
class Pace {
 public:
  using Clock = std::chrono::steady_clock;

  // 0 bytes per second: not at all. After a step nothing goes for at least `rest` times as long as it took.
  void Set(uint64_t bytes_per_second, uint64_t step_bytes, uint32_t rest) {
    bytes_per_second_ = bytes_per_second;
    step_bytes_ = std::max<uint64_t>(step_bytes, 1);
    rest_ = rest;
  }
  // Nobody sets the pace any more: what stands still goes on.
  void Release(uint64_t bytes_per_second) {
    uint64_t paused = 0;
    bytes_per_second_.compare_exchange_strong(paused, bytes_per_second);
  }
  // The file manager is about to go: it waits for the step under way.
  void Close() { closing_ = true; }

  uint64_t step_bytes() const { return step_bytes_; }

  // Waits after a step that began then: for the time that it may take by the rate, or longer if the
  // disk was slow. The same rule as `Governor::pace` has for files that we cut ourselves.
  void Rest(Clock::time_point began, uint64_t step) const {
    const Seconds took = Clock::now() - began;
    while (!closing_) {
      const double rate = static_cast<double>(bytes_per_second_);
      const Seconds by_rate = rate > 0 ? Seconds(step / rate) : Seconds::max();
      const Seconds due = std::max(by_rate, took * (1 + rest_));
      const Seconds left = due - Seconds(Clock::now() - began);
      if (left <= Seconds(0)) return;
      std::this_thread::sleep_for(std::min(left, kLookEvery));
    }
  }

 private:
  using Seconds = std::chrono::duration<double>;

  // A changed pace takes effect after so long.
  static constexpr Seconds kLookEvery{0.050};

  std::atomic<uint64_t> bytes_per_second_{0};
  std::atomic<uint64_t> step_bytes_{1};
  std::atomic<uint32_t> rest_{0};
  std::atomic<bool> closing_{false};
};

// One file of the trash. RocksDB's file manager cuts it by a chunk that is fixed for good. Freeing
// blocks, and discarding them, holds up whoever reads meanwhile for as long as it takes, which is
// in proportion to the bytes; so a chunk is cut in steps, small ones while somebody reads. They are
// synced again and again, or a journal would free the blocks of all of them at once; not each of the
// small ones, because a sync holds up everybody's own. (With a journal somebody else's sync may free
// what was cut since ours, and the rest does not know of it. Measured without one.)
class TrashFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  TrashFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, uint64_t size,
            const Pace& pace)
      : FSWritableFileOwnerWrapper(std::move(file)), size_(size), pace_(pace) {}

  rocksdb::IOStatus Truncate(uint64_t size, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* dbg) override {
    while (size_ > size) {
      const auto began = Pace::Clock::now();
      const uint64_t step = std::min(size_ - size, pace_.step_bytes());
      rocksdb::IOStatus status =
          FSWritableFileOwnerWrapper::Truncate(size_ - step, options, dbg);
      if (!status.ok()) return status;
      size_ -= step;
      unsynced_ += step;
      if (unsynced_ >= kSyncBytes || size_ <= size) {
        unsynced_ = 0;
        status = FSWritableFileOwnerWrapper::Fsync(options, dbg);
        if (!status.ok()) return status;
      }
      pace_.Rest(began, step);
    }
    return rocksdb::IOStatus::OK();
  }

  // What was cut is synced.
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }

 private:
  // What a journal may have to free at once.
  static constexpr uint64_t kSyncBytes = 4 << 20;

  uint64_t size_;
  uint64_t unsynced_ = 0;
  const Pace& pace_;
};

class CuttingFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit CuttingFileSystem(const std::shared_ptr<rocksdb::FileSystem>& target)
      : FileSystemWrapper(target) {}

  const char* Name() const override { return "CairnCuttingFileSystem"; }

  Pace& pace() { return pace_; }

  // The file manager reopens a file for nothing but to cut it.
  rocksdb::IOStatus ReopenWritableFile(const std::string& name,
                                       const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* dbg) override {
    uint64_t size = 0;
    rocksdb::IOStatus status =
        FileSystemWrapper::GetFileSize(name, rocksdb::IOOptions(), &size, dbg);
    if (status.ok()) {
      status = FileSystemWrapper::ReopenWritableFile(name, options, file, dbg);
    }
    if (status.ok()) *file = std::make_unique<TrashFile>(std::move(*file), size, pace_);
    return status;
  }

  // What is left of a file is a chunk at most, and is cut like the rest until only a step is left.
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* dbg) override {
    uint64_t size = 0;
    uint64_t links = 0;
    if (!IsTrash(name) || !FileSystemWrapper::GetFileSize(name, options, &size, dbg).ok() ||
        !FileSystemWrapper::NumFileLinks(name, options, &links, dbg).ok() || links != 1) {
      return FileSystemWrapper::DeleteFile(name, options, dbg);
    }
    const uint64_t step = pace_.step_bytes();
    std::unique_ptr<rocksdb::FSWritableFile> file;
    if (size > step && ReopenWritableFile(name, rocksdb::FileOptions(), &file, dbg).ok()) {
      // If that fails, the rest goes at once.
      file->Truncate(step, options, dbg).PermitUncheckedError();
      file->Close(options, dbg).PermitUncheckedError();
    }
    const auto began = Pace::Clock::now();
    rocksdb::IOStatus status = FileSystemWrapper::DeleteFile(name, options, dbg);
    pace_.Rest(began, std::min(size, step));
    return status;
  }

 private:
  static bool IsTrash(const std::string& name) {
    const std::string ending = ".trash";
    return name.size() > ending.size() &&
           name.compare(name.size() - ending.size(), ending.size(), ending) == 0;
  }

  Pace pace_;
};

}  // namespace cairn
