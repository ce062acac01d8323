# frozen_string_literal: true

require "tempfile"

# A worker in a process of its own, Rust or Ruby, with what it says kept in a file.
class WorkerProcess
  RUST = ENV.fetch("WORKER") { abort "WORKER is not set: run bin/test compat" }
  TOOL = ENV.fetch("FERROKIQ") { abort "FERROKIQ is not set: run bin/test compat" }

  attr_reader :pid, :title

  def self.rust(*flags, env: {})
    new("ferrokiq", [RUST, *flags], rights([RUST]).merge("POLL_INTERVAL" => "0.2", "RUST_BACKTRACE" => "0").merge(env))
  end

  # Rust has no more rights in Redis than it ships; its jobs tell what they did as somebody else.
  def self.rights(command)
    user =
      if command[0] == RUST then "worker"
      elsif command[0, 2] == [TOOL, "push"] then "producer"
      elsif [TOOL, ENV["INSPECT"]].include?(command[0]) then "operator"
      end
    user ? {"REDIS_URL" => REDIS.url(as: user), "PROOF_URL" => REDIS.url} : {}
  end

  # With a configuration file of one's own, it must say how often to look at the schedule.
  def self.ruby(*flags, env: {})
    flags = ["-C", config_file(":poll_interval_average: 0.2\n"), *flags] unless flags.include?("-C")
    new("sidekiq", ["ruby", "-S", "sidekiq", "-r", File.expand_path("../../ruby-fixtures/jobs.rb", __dir__), *flags], env)
  end

  # A command under the Sidekiq of another major version; nil where there is none.
  def self.beside(major, *command)
    in_ruby = File.expand_path("../../bin/lib/in-ruby", __dir__)
    command = [in_ruby, "--sidekiq", major.to_s, "--", *command]
    (@beside ||= {})[major] = system(in_ruby, "--sidekiq", major.to_s, "--", "true", out: IO::NULL, err: IO::NULL) unless @beside&.key?(major)
    command if @beside[major]
  end

  # Its path.
  def self.config_file(text)
    file = Tempfile.create(["sidekiq", ".yml"])
    file.write(text)
    file.close
    file.path
  end

  # Runs a command to its end: what it said, and its exit code.
  def self.run(*command, env: {})
    output = Tempfile.create("said")
    pid = spawn(rights(command).merge(env), *command, out: output.path, err: [:child, :out])
    _, status = Process.wait2(pid)
    [File.read(output.path), status.exitstatus]
  end

  def initialize(title, command, env)
    @title = title
    @output = Tempfile.create("said")
    # A directory without a config/sidekiq.yml.
    @pid = spawn(env, *command, out: @output.path, err: [:child, :out], chdir: Dir.tmpdir, pgroup: true)
  end

  # The name Sidekiq knows the process by, once it does.
  def identity
    Sidekiq.redis { |conn| conn.call("SMEMBERS", "processes") }.find { |name| name.split(":")[1] == pid.to_s }
  end

  def process = Sidekiq::ProcessSet.new.find { |process| process["pid"] == pid }

  def said = File.read(@output.path)

  def signal(name) = Process.kill(name, pid)

  def ended? = !(@status ||= Process.wait2(pid, Process::WNOHANG)&.last).nil?

  # TERM, and the exit code.
  def stop
    signal("TERM")
    wait
  end

  def wait(within: 40)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + within
    until ended?
      raise "#{title} does not end:\n#{said}" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      IO.select(nil, nil, nil, 0.02)
    end
    @status
  end

  def kill
    return if @status
    signal("KILL")
    wait
  rescue Errno::ESRCH, Errno::ECHILD
    nil
  end
end
