// What RocksDB's C bindings cannot express: a file manager that cuts files in steps chosen by
// us (theirs are fixed at 64 MiB, which stalls the disk in one step), a file system that
// keeps sorted files while the MANIFEST is in doubt, and a rate of flushes and compactions
// that changes while they run. And one system call that no crate of ours offers.
//
// Ownership: `cairn_file_manager_new` and `cairn_rate_limiter_new` hand out heap-allocated
// shared pointers; the options keep a copy of them, so the handles may be freed before or
// after the database. The file system is one for the process and is never freed.

#include <sys/resource.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "cutting.h"
#include "keeping.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/options.h"
#include "rocksdb/rate_limiter.h"
#include "rocksdb/sst_file_manager.h"
#include "rocksdb/sst_file_reader.h"

using rocksdb::Env;
using rocksdb::FileSystem;
using rocksdb::NewSstFileManager;
using rocksdb::SstFileManager;
using rocksdb::Status;

struct cairn_file_manager {
  // Shared with `rep`.
  std::shared_ptr<cairn::CuttingFileSystem> disk;
  std::shared_ptr<SstFileManager> rep;
};

struct cairn_rate_limiter {
  std::shared_ptr<rocksdb::RateLimiter> rep;
};

namespace {

// All databases of a process flush and compact on the same threads. One that takes its time must
// not keep others waiting: there is a thread for each that may, and one for those that do not.
std::atomic<int> limiters{0};

void MakeThreads(int count) {
  Env::Default()->IncBackgroundThreadsIfNeeded(count, Env::Priority::HIGH);
  Env::Default()->IncBackgroundThreadsIfNeeded(count, Env::Priority::LOW);
}

}  // namespace

extern "C" {

// A file manager whose trash goes as `cairn_file_manager_set_pace` says, and not at all before.
cairn_file_manager* cairn_file_manager_new(double trash_ratio_max, uint64_t chunk_bytes) {
  // Not 0, or nothing would become trash; so fast that only `disk` waits.
  constexpr int64_t kNeverWaits = int64_t{1} << 50;
  auto disk = std::make_shared<cairn::CuttingFileSystem>(FileSystem::Default());
  Status status;
  SstFileManager* manager = NewSstFileManager(
      Env::Default(), disk, nullptr, std::string(), kNeverWaits,
      /*delete_existing_trash=*/true, &status, trash_ratio_max, chunk_bytes);
  if (manager == nullptr || !status.ok()) {
    delete manager;
    return nullptr;
  }
  return new cairn_file_manager{std::move(disk), std::shared_ptr<SstFileManager>(manager)};
}

// `rocksdb_options_t` begins with the C++ `Options` it wraps (db/c.cc).
void cairn_options_set_file_manager(void* options, cairn_file_manager* manager) {
  static_cast<rocksdb::Options*>(options)->sst_file_manager = manager->rep;
}

// Options with an environment of their own keep that, and files in doubt are not kept. 1 if they are.
int cairn_options_keep_files_in_doubt(void* options) {
  // Never freed: a database may outlive everything else, and there is one of it.
  static Env* const env = rocksdb::NewCompositeEnv(
      std::make_shared<cairn::KeepingFileSystem>(FileSystem::Default())).release();
  auto* given = static_cast<rocksdb::Options*>(options);
  if (given->env != Env::Default()) return 0;
  given->env = env;
  return 1;
}

void cairn_file_manager_set_pace(cairn_file_manager* manager, uint64_t bytes_per_second,
                                 uint64_t step_bytes, uint32_t rest) {
  manager->disk->pace().Set(bytes_per_second, step_bytes, rest);
}

uint64_t cairn_file_manager_trash_bytes(cairn_file_manager* manager) {
  return manager->rep->GetTotalTrashSize();
}

// Reads every block of a sorted file that is in no database and compares its checksum. Null, or an
// error text to be freed with `rocksdb_free`.
char* cairn_verify_file(const void* options, const char* path) {
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  rocksdb::SstFileReader reader(*static_cast<const rocksdb::Options*>(options));
  Status status = reader.Open(path);
  if (status.ok()) status = reader.VerifyChecksum(read);
  return status.ok() ? nullptr : strdup(status.ToString().c_str());
}

// Of what flushes and compactions write. Flushes go first. What may be written in one go is the
// rate of one period: short ones, or each would be a stall.
cairn_rate_limiter* cairn_rate_limiter_new(int64_t bytes_per_second, int64_t period_micros) {
  constexpr int32_t kFairness = 10;
  MakeThreads(++limiters + 1);
  return new cairn_rate_limiter{std::shared_ptr<rocksdb::RateLimiter>(rocksdb::NewGenericRateLimiter(
      bytes_per_second, period_micros, kFairness, rocksdb::RateLimiter::Mode::kWritesOnly))};
}

// RocksDB would take what the limiter begins with for the rate to which it slows writers down.
void cairn_options_set_rate_limiter(void* options, cairn_rate_limiter* limiter,
                                    uint64_t delayed_write_rate) {
  auto* given = static_cast<rocksdb::Options*>(options);
  given->rate_limiter = limiter->rep;
  given->delayed_write_rate = delayed_write_rate;
}

// Who waits follows at the end of the period.
void cairn_rate_limiter_set(cairn_rate_limiter* limiter, int64_t bytes_per_second) {
  limiter->rep->SetBytesPerSecond(bytes_per_second);
}

// A database that is still open goes on as fast as it can.
void cairn_rate_limiter_free(cairn_rate_limiter* limiter, int64_t bytes_per_second) {
  limiter->rep->SetBytesPerSecond(bytes_per_second);
  --limiters;
  delete limiter;
}

// On Linux "process 0" means the calling thread here.
int cairn_lower_thread_priority(int nice) {
  return setpriority(PRIO_PROCESS, 0, nice);
}

// A database that is still open goes on at the pace that was set last; at `bytes_per_second` if that
// was none.
void cairn_file_manager_free(cairn_file_manager* manager, uint64_t bytes_per_second) {
  if (manager->rep.use_count() == 1) {
    manager->disk->pace().Close();
  } else {
    manager->disk->pace().Release(bytes_per_second);
  }
  delete manager;
}

}  // extern "C"
