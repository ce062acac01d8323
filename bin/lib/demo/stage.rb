# frozen_string_literal: true

require "json"
require "logger"
require "net/http"
require "tmpdir"
require_relative "../../../compat-tests/support/redis_server"

# A program that belongs to the demo, in a process group of its own so that a Ctrl-C reaches the demo alone.
class Program
  attr_reader :pid, :name

  def initialize(name, env, *command, dir:)
    @name = name
    @log = File.join(dir, "#{name}.log")
    @pid = spawn(env, *command, out: @log, err: [:child, :out], chdir: dir, pgroup: true)
  end

  def said = File.read(@log)

  def ended?
    @ended ||= !Process.wait(@pid, Process::WNOHANG).nil?
  end

  # TERM, and KILL if that is not obeyed.
  def stop(patience)
    Process.kill("TERM", @pid) unless ended?
    deadline = now + patience
    IO.select(nil, nil, nil, 0.05) until ended? || $at_once || now > deadline
    return if ended?
    Process.kill("KILL", @pid)
    Process.wait(@pid)
  rescue Errno::ESRCH, Errno::ECHILD
    nil
  end

  private

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

# A Redis, and the programs that share it. What is shown is up to who inherits: `start`, `show`, and `check`, which tells whether
# everything is where it belongs.
class Stage
  attr_reader :port

  ROOT = File.expand_path("../../..", __dir__)

  def initialize(port:, check: false)
    @check = check
    @dir = Dir.mktmpdir("ferrokiq-demo")
    @programs = []
    @port = usable(port)
    @redis = RedisServer.start
    ENV["REDIS_URL"] = @redis.url
    require "sidekiq/api"
    Sidekiq.default_configuration.logger = Logger.new(IO::NULL)
  end

  def page(path)
    Net::HTTP.get_response("127.0.0.1", path, port)
  rescue SystemCallError
    nil
  end

  # Whether a page of the Web UI comes to show some texts.
  def shows?(path, texts)
    wait("#{path} shows #{texts}", within: 30, quietly: true) do
      response = page(path)
      response.is_a?(Net::HTTPOK) && Array(texts).all? { |text| response.body.include?(text) }
    end
  end

  def rust = process(@rust)

  def stop
    @programs.reverse_each { |program| program.stop(15) }
    @redis.stop
    FileUtils.rm_rf(@dir)
  end

  # Polls; `false` at the deadline, or an error if none is said.
  def wait(what, within: 30, quietly: false)
    deadline = now + within
    until yield
      return false if $stopping
      gone = @programs.find(&:ended?)
      raise "#{gone.name} has ended:\n#{gone.said}" if gone
      if now > deadline
        return false if quietly
        raise "#{what}: not within #{within} s\n#{@programs.map { |program| "#{program.name} said:\n#{program.said}" }.join("\n")}"
      end
      IO.select(nil, nil, nil, 0.1)
    end
    true
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  private

  def run(name, *command, env: {})
    Program.new(name, env, *command, dir: @dir).tap { |program| @programs << program }
  end

  def process(program) = Sidekiq::ProcessSet.new(false).find { |process| process["pid"] == program.pid }

  def usable(port)
    TCPServer.new("127.0.0.1", port).close
    port
  rescue Errno::EADDRINUSE
    abort "demo: port #{port} is taken: pass another with --port" unless @check
    RedisServer.free_port
  end
end
