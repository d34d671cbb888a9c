// What RocksDB's C bindings cannot express: a file manager whose deletion chunk is
// chosen by us (theirs is fixed at 64 MiB, which stalls the disk in one step), and a
// file system that keeps sorted files while the MANIFEST is in doubt. And one system
// call that no crate of ours offers.
//
// Ownership: `cairn_file_manager_new` hands out a heap-allocated shared pointer; the
// options keep a copy of it, so the handle may be freed before or after the database.
// The file system is one for the process and is never freed.

#include <sys/resource.h>

#include <cstdint>
#include <memory>
#include <string>

#include "keeping.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/options.h"
#include "rocksdb/sst_file_manager.h"

using rocksdb::Env;
using rocksdb::FileSystem;
using rocksdb::NewSstFileManager;
using rocksdb::SstFileManager;
using rocksdb::Status;

struct cairn_file_manager {
  std::shared_ptr<SstFileManager> rep;
};

extern "C" {

cairn_file_manager* cairn_file_manager_new(int64_t bytes_per_second,
                                           double trash_ratio_max,
                                           uint64_t chunk_bytes) {
  Status status;
  SstFileManager* manager = NewSstFileManager(
      Env::Default(), nullptr, std::string(), bytes_per_second,
      /*delete_existing_trash=*/true, &status, trash_ratio_max, chunk_bytes);
  if (manager == nullptr || !status.ok()) {
    delete manager;
    return nullptr;
  }
  return new cairn_file_manager{std::shared_ptr<SstFileManager>(manager)};
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

void cairn_file_manager_set_rate(cairn_file_manager* manager,
                                 int64_t bytes_per_second) {
  manager->rep->SetDeleteRateBytesPerSecond(bytes_per_second);
}

uint64_t cairn_file_manager_trash_bytes(cairn_file_manager* manager) {
  return manager->rep->GetTotalTrashSize();
}

// On Linux "process 0" means the calling thread here.
int cairn_lower_thread_priority(int nice) {
  return setpriority(PRIO_PROCESS, 0, nice);
}

void cairn_file_manager_free(cairn_file_manager* manager) { delete manager; }

}  // extern "C"
