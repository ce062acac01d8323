# frozen_string_literal: true

# Makes the README's table of what the suite has proved from the report it wrote:
#   ruby compat-tests/matrix.rb REPORT README.md

require "json"

report, readme = ARGV
results = File.readlines(report).map { |line| JSON.parse(line) }
columns = results.map { |result| result.values_at("sidekiq", "server") }.uniq.sort.reverse
rows = results.group_by { |result| result["feature"] }.sort

cell = ->(results) {
  # What depends on Sidekiq alone runs with one server.
  return "" if results.empty?
  ran = results.reject { |result| result["skipped"] }
  bad = ran.reject { |result| result["passed"] }
  return "**#{bad.size} of #{ran.size} failed**" if bad.any?
  reasons = results.filter_map { |result| result["skipped"] || nil }.uniq
  reasons.any? ? "#{ran.size} (#{reasons.map { |reason| reason.sub(/^Sidekiq \S+ /, "") }.join(", ")})" : ran.size.to_s
}
bad = results.count { |result| !result["skipped"] && !result["passed"] }
ran = results.count { |result| !result["skipped"] }
lines = ["<details>", "<summary>#{rows.size} features on #{columns.size} pairs of Sidekiq and server: #{ran - bad} tests passed, #{bad} failed</summary>", "",
  "| | #{columns.map { |sidekiq, server| "#{sidekiq}<br>#{server}" }.join(" | ")} |", "|---|#{"---|" * columns.size}"]
rows.each do |feature, of_feature|
  cells = columns.map { |column| cell.call(of_feature.select { |result| result.values_at("sidekiq", "server") == column }) }
  lines << "| #{feature} | #{cells.join(" | ")} |"
end
lines << "" << "</details>"
text = File.read(readme)
updated = text.sub(/(<!-- matrix -->\n).*(<!-- end of matrix -->)/m) { "#{$1}#{lines.join("\n")}\n#{$2}" }
File.write(readme, updated) unless updated == text
puts lines
