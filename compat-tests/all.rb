# frozen_string_literal: true

# The whole suite: bin/test compat, or WORKER=... FERROKIQ=... ruby compat-tests/all.rb [-j N] [--in DIRECTORY] [arguments for minitest]
#
# --in runs the files of a directory below this one instead, each as a whole.
#
# Each file runs in three processes, some of its tests in each, with a Redis of their own. They mostly wait for things to happen,
# so many run at a time.

require "etc"
require "open3"

jobs = (at = ARGV.index("-j")) ? ARGV.slice!(at, 2).last.to_i : Etc.nprocessors * 6
room = (at = ARGV.index("--in")) ? ARGV.slice!(at, 2).last : "."
SHARDS = (room == ".") ? 3 : 1
# The slowest first.
slow = %w[crash_test browser_test process_test data_api_test settings_test signals_test schedule_test odd_payloads_test web_ui_test mixed_fleet_test heartbeat_test].each_with_index.to_h
files = Dir[File.join(__dir__, room, "*_test.rb")]
# What depends on Sidekiq and not on the server.
files += Dir[File.join(__dir__, "each_sidekiq", "*_test.rb")] if room == "." && ENV["FIRST_SERVER"] != ""
files = files.sort_by { |file| [slow.fetch(File.basename(file, ".rb"), slow.size), file] }
totals = Hash.new(0)
lock = Mutex.new
work = Queue.new
files.each { |file| SHARDS.times { |shard| work << [file, shard] } }
work.close

threads = Array.new(jobs) do
  Thread.new do
    while (file, shard = work.pop)
      began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      said, status = Open3.capture2e({"SHARD" => "#{shard}/#{SHARDS}"}, "ruby", file, *ARGV)
      lock.synchronize do
        counts = said[/^\d+ runs, .*$/].to_s.scan(/(\d+) (\w+)/).to_h { |number, what| [what, number.to_i] }
        # A file that broke before it could count.
        counts = {"runs" => 1, "errors" => 1} if counts.empty? || (!status.success? && counts.values_at("failures", "errors").sum.zero?)
        counts.each { |what, number| totals[what] += number }
        bad = counts.values_at("failures", "errors").compact.sum
        warn "#{File.basename(file)} #{shard + 1}/#{SHARDS}: #{counts["runs"]} runs, #{bad} bad, #{counts["skips"].to_i} skipped, #{(Process.clock_gettime(Process::CLOCK_MONOTONIC) - began).round} s"
        puts said unless status.success?
        puts said.scan(/^.*\[SKIP\].*$|^ +\d+\) Skipped:\n.*\n.*$/) if counts["skips"].to_i.positive?
      end
    end
  end
end
threads.each(&:join)

about, = Open3.capture2e("ruby", "-e", 'require "sidekiq"; print "Sidekiq #{Sidekiq::VERSION}, Ruby #{RUBY_VERSION}"')
puts about
puts "%d runs, %d assertions, %d failures, %d errors, %d skips" % totals.values_at("runs", "assertions", "failures", "errors", "skips")
exit(totals["failures"] + totals["errors"] == 0)
