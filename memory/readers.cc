#include "memory/readers.h"

#include <utility>

#include "base/check.h"

namespace ebb::memory {

Readers::Id Readers::Add(std::string name) {
  readers_.push_back(Reader{std::move(name)});
  return static_cast<Id>(readers_.size()) - 1;
}

uint64_t Readers::Submit(Id reader) { return ++readers_.at(reader).submitted; }

void Readers::Complete(Id reader, uint64_t ticket) {
  Reader& at = readers_.at(reader);
  CHECK_LE(ticket, at.submitted) << at.name;
  CHECK_LE(at.completed, ticket) << at.name;
  at.completed = ticket;
}

uint64_t Readers::submitted(Id reader) const { return readers_.at(reader).submitted; }
uint64_t Readers::completed(Id reader) const { return readers_.at(reader).completed; }
const std::string& Readers::name(Id reader) const { return readers_.at(reader).name; }

Readers::Tickets Readers::Snapshot() const {
  Tickets tickets;
  tickets.reserve(readers_.size());
  for (const Reader& reader : readers_) tickets.push_back(reader.submitted);
  return tickets;
}

bool Readers::HavePassed(const Tickets& tickets) const {
  CHECK_LE(tickets.size(), readers_.size());
  for (size_t i = 0; i < tickets.size(); ++i) {
    if (readers_[i].completed < tickets[i]) return false;
  }
  return true;
}

}  // namespace ebb::memory
