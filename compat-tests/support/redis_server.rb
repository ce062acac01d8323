# frozen_string_literal: true

require "fileutils"
require "socket"
require "tmpdir"

# A redis-server of one's own on a free port; ended by its own process id.
class RedisServer
  attr_reader :port, :pid

  def self.start(*arguments) = new(arguments)

  def initialize(arguments)
    @dir = Dir.mktmpdir("ferrokiq-redis")
    @port = free_port
    command = ["redis-server", "--port", @port.to_s, "--bind", "127.0.0.1", "--save", "", "--dir", @dir, *arguments]
    @pid = spawn(*command, out: File.join(@dir, "log"), err: [:child, :out], pgroup: true)
    wait
  end

  def url(db = 0) = "redis://127.0.0.1:#{@port}/#{db}"

  def stop
    return unless @pid
    Process.kill("KILL", @pid)
    Process.wait(@pid)
    @pid = nil
    FileUtils.rm_rf(@dir)
  rescue Errno::ESRCH, Errno::ECHILD
    nil
  end

  private

  def free_port
    socket = TCPServer.new("127.0.0.1", 0)
    socket.addr[1]
  ensure
    socket&.close
  end

  def wait
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 10
    begin
      TCPSocket.open("127.0.0.1", @port) { |socket|
        socket.write("PING\r\n")
        raise Errno::ECONNREFUSED unless socket.gets&.start_with?("+PONG")
      }
    rescue SystemCallError
      raise "redis-server does not answer:\n#{File.read(File.join(@dir, "log"))}" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      IO.select(nil, nil, nil, 0.02)
      retry
    end
  end
end
