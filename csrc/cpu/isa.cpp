#include "cpu/isa.hpp"

#include <atomic>
#include <stdexcept>
#include <string>

namespace idsim::cpu {
namespace {

#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
bool has_amx() { return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8"); }
#endif

std::vector<const Kernels*> detect() {
  std::vector<const Kernels*> tables{&portable_kernels()};
#if defined(__x86_64__)
  if (has_avx2()) tables.push_back(&avx2_kernels());
  if (has_avx512()) tables.push_back(&avx512_kernels());
  if (has_vnni()) tables.push_back(&vnni_kernels());
  if (has_vnni() && has_amx() && may_use_amx()) tables.push_back(&amx_kernels());
#endif
  return tables;
}

std::atomic<const Kernels*>& active() {
  static std::atomic<const Kernels*> table{available_kernels().back()};
  return table;
}

}  // namespace

const std::vector<const Kernels*>& available_kernels() {
  static const std::vector<const Kernels*> tables = detect();
  return tables;
}

const Kernels& active_kernels() { return *active().load(std::memory_order_acquire); }

void set_active_kernels(std::string_view name) {
  std::string names;
  for (const Kernels* table : available_kernels()) {
    if (name == table->name) {
      active().store(table, std::memory_order_release);
      return;
    }
    names += names.empty() ? "" : ", ";
    names += table->name;
  }
  throw std::invalid_argument("unknown instruction set \"" + std::string(name) +
                              "\"; this machine has: " + names);
}

}  // namespace idsim::cpu
