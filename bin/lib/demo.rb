# frozen_string_literal: true

# What bin/demo runs where Ruby Sidekiq is at hand. WORKER is the Rust worker.

require "optparse"

$stdout.sync = true

options = {port: 9292}
rails = false
OptionParser.new do |parser|
  parser.on("--check") { options[:check] = true }
  parser.on("--port N", Integer) { |port| options[:port] = port }
  parser.on("--rails") { rails = true }
end.parse!

require_relative rails ? "demo/rails" : "demo/jobs"

# A second one does not wait for running jobs.
$stopping = $at_once = false
%w[INT TERM].each { |signal| trap(signal) { $stopping ? $at_once = true : $stopping = true } }

demo = (rails ? RailsDemo : JobsDemo).new(**options)
begin
  demo.start
  if $stopping
    ok = false
  elsif options[:check]
    ok = demo.check
  else
    demo.show
    ok = true
    warn "stopping"
  end
rescue RuntimeError => error
  warn "demo: #{error.message}"
  ok = false
ensure
  demo.stop
end
exit(ok ? 0 : 1)
