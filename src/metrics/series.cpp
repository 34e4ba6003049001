#include "metrics/series.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

namespace iptables_exporter {
namespace {

std::uint64_t saturating_sum(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t sum = a + b;
  return sum < a ? std::numeric_limits<std::uint64_t>::max() : sum;
}

/// The label sets, which come into being with the first.
LabelSets& label_sets(const Labels& labels, std::shared_ptr<LabelSets>& series) {
  if (!series) series = std::make_shared<LabelSets>(labels.names());
  return *series;
}

}  // namespace

Labels::Labels(std::vector<std::string_view> names, const Source& source)
    : names_(std::move(names)) {
  if (source.family) names_.emplace_back("family");
  if (source.backend) names_.emplace_back("backend");
  std::sort(names_.begin(), names_.end());
  values_.resize(names_.size());
  if (source.family) (*this)["family"] = name_of(*source.family);
  if (source.backend) (*this)["backend"] = name_of(*source.backend);
}

std::string_view& Labels::operator[](std::string_view name) {
  const auto found = std::lower_bound(names_.begin(), names_.end(), name);
  return values_[static_cast<std::size_t>(found - names_.begin())];
}

void CounterSeries::reserve(const Labels& labels, std::size_t more) {
  label_sets(labels, series_).reserve(size() + more);
  packets_.reserve(size() + more);
  bytes_.reserve(size() + more);
}

void CounterSeries::add(const Labels& labels, const Counters& counters) {
  add_to(label_sets(labels, series_).find_or_add(labels.values()), counters);
}

bool CounterSeries::add_soon(const Labels& labels, const Counters& counters) {
  constexpr std::size_t max_pending = 16;  // by then the first slot has come from memory
  const std::vector<std::string_view>& values = labels.values();
  pending_.push_back({label_sets(labels, series_).prepare(values), counters});
  pending_values_.insert(pending_values_.end(), values.begin(), values.end());
  if (pending_.size() < max_pending) return false;
  settle();
  return true;
}

void CounterSeries::settle() {
  if (pending_.empty()) return;
  std::span<const std::string_view> rest = pending_values_;
  const std::size_t values = rest.size() / pending_.size();
  for (const Pending& one : pending_) {
    add_to(series_->find_or_add(rest.first(values), one.hash), one.counters);
    rest = rest.subspan(values);
  }
  pending_.clear();
  pending_values_.clear();
}

void CounterSeries::add_to(std::size_t index, const Counters& counters) {
  if (index == packets_.size()) {
    packets_.push_back(counters.packets);
    bytes_.push_back(counters.bytes);
    return;
  }
  packets_[index] = saturating_sum(packets_[index], counters.packets);
  bytes_[index] = saturating_sum(bytes_[index], counters.bytes);
}

void CounterSeries::truncate(std::size_t size) {
  if (size >= packets_.size()) return;
  packets_.resize(size);
  bytes_.resize(size);
}

void CounterSeries::move_to(std::vector<MetricFamily>& families, std::string_view bytes_name,
                            std::string_view bytes_help, std::string_view packets_name,
                            std::string_view packets_help) {
  if (packets_.empty()) return;
  families.push_back({bytes_name, bytes_help, MetricType::counter, series_, std::move(bytes_)});
  families.push_back(
      {packets_name, packets_help, MetricType::counter, std::move(series_), std::move(packets_)});
}

void GaugeSeries::add(const Labels& labels, double value) {
  const std::size_t index = label_sets(labels, series_).find_or_add(labels.values());
  if (index == values_.size()) {
    values_.push_back(value);
  } else {
    values_[index] += value;
  }
}

void GaugeSeries::move_to(std::vector<MetricFamily>& families, std::string_view name,
                          std::string_view help) {
  if (!series_) return;
  families.push_back({name, help, MetricType::gauge, std::move(series_), std::move(values_)});
}

}  // namespace iptables_exporter
