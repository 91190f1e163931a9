#include "cpu/isa.hpp"

#include <atomic>
#include <stdexcept>
#include <string>

namespace idsim::cpu {
namespace {

std::vector<const Kernels*> detect() {
  std::vector<const Kernels*> tables{&portable_kernels()};
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
