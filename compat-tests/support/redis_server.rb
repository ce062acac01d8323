# frozen_string_literal: true

require "fileutils"
require "openssl"
require "shellwords"
require "socket"
require "tmpdir"

# A server of one's own on a free port, or on a socket; ended by its own process id. It has the users whose rights ferrokiq ships;
# the default user may do everything.
class RedisServer
  # redis-server or valkey-server, or how to get at one.
  PROGRAM = Shellwords.split(ENV.fetch("REDIS_SERVER", "redis-server"))

  USERS = %w[producer worker operator].map { |name| File.read(File.expand_path("../../docs/acl/#{name}.acl", __dir__)) }.freeze
  # What ferrokiq asks for and can do without.
  OPTIONAL = %w[client|setinfo client|unblock config|get].freeze
  # The same of one user: `contract check` of a worker looks for keys of gems.
  OPTIONAL_FOR = {"ferrokiq-worker" => %w[scan]}.freeze

  attr_reader :port, :pid, :dir

  # Ports below those that the system gives to connections and to listeners without a port: another suite takes one of those in between.
  PORTS = 10_240..32_000

  # A port of loopback that nobody listens on.
  def self.free_port
    port = Random.rand(PORTS)
    TCPServer.new("127.0.0.1", port).close
    port
  rescue Errno::EADDRINUSE
    retry
  end

  def self.start(*arguments, **options) = new(arguments, **options)

  # `over` is :tcp, :unix or :tls; one with TLS has a socket besides.
  def initialize(arguments = [], over: :tcp)
    @over = over
    @dir = Dir.mktmpdir("ferrokiq-redis")
    # A server whose password is its only user has no file of users.
    arguments = ["--aclfile", users, *arguments] unless arguments.include?("--requirepass")
    # A port that was free may be taken by the time the server asks for it; another suite's server answers there then.
    5.times do
      @port = self.class.free_port
      @pid = spawn(*PROGRAM, *listening, "--save", "", "--dir", @dir, *arguments, out: log, err: [:child, :out], pgroup: true)
      return if ready?
    end
    raise "#{PROGRAM.join(" ")} does not start:\n#{File.read(log)}"
  end

  # For one of the shipped users, or the default one, and a database.
  def url(db = 0, as: nil, password: as && "s3cr3t")
    user = "ferrokiq-#{as}" if as
    credentials = password ? "#{user}:#{password}@" : ""
    case @over
    when :tcp then "redis://#{credentials}127.0.0.1:#{@port}/#{db}"
    when :tls then "rediss://#{credentials}localhost:#{@port}/#{db}"
    when :unix then "unix://#{socket}#{"?user=#{user}&pass=#{password}" if as}"
    end
  end

  # What the shipped users asked for and were refused, of the answer to ACL LOG.
  def self.refusals(log)
    log.map { |entry| entry.is_a?(Hash) ? entry : Hash[*entry] }.select { |entry|
      entry["username"].start_with?("ferrokiq-") && entry["reason"] != "auth" && !OPTIONAL.include?(entry["object"]) &&
        !OPTIONAL_FOR.fetch(entry["username"], []).include?(entry["object"])
    }
  end

  def socket = File.join(@dir, "redis.sock")

  # The certificate of the authority that the server's own is signed by.
  def authority = File.join(@dir, "ca.pem")

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

  def log = File.join(@dir, "log")

  def users
    File.join(@dir, "users.acl").tap { |file| File.write(file, USERS.map { |line| line.sub(" on ", " on >s3cr3t ") }.join) }
  end

  def listening
    case @over
    when :tcp then ["--port", @port.to_s, "--bind", "127.0.0.1"]
    when :unix then ["--port", "0", "--unixsocket", socket]
    when :tls
      certify
      files = {"cert" => "server.pem", "key" => "server.key", "ca-cert" => "ca.pem"}
      ["--port", "0", "--tls-port", @port.to_s, "--bind", "127.0.0.1", "--unixsocket", socket, "--tls-auth-clients", "no",
        *files.flat_map { |name, file| ["--tls-#{name}-file", File.join(@dir, file)] }]
    end
  end

  # A private authority, and a certificate of it for localhost.
  def certify
    authority_key, server_key = OpenSSL::PKey::RSA.new(2048), OpenSSL::PKey::RSA.new(2048)
    authority = certificate("/CN=Private CA", authority_key, nil, authority_key, "basicConstraints" => "CA:TRUE", "keyUsage" => "keyCertSign,cRLSign")
    server = certificate("/CN=localhost", server_key, authority, authority_key, "subjectAltName" => "DNS:localhost")
    File.write(File.join(@dir, "ca.pem"), authority.to_pem)
    File.write(File.join(@dir, "server.pem"), server.to_pem)
    File.write(File.join(@dir, "server.key"), server_key.to_pem)
  end

  def certificate(name, key, issuer, issuer_key, extensions)
    OpenSSL::X509::Certificate.new.tap do |certificate|
      certificate.version = 2
      certificate.serial = rand(1 << 64)
      certificate.subject = OpenSSL::X509::Name.parse(name)
      certificate.issuer = (issuer || certificate).subject
      certificate.public_key = key.public_key
      certificate.not_before = Time.now - 3600
      certificate.not_after = Time.now + 86_400
      factory = OpenSSL::X509::ExtensionFactory.new(issuer || certificate, certificate)
      extensions.each { |extension, value| certificate.add_extension(factory.create_extension(extension, value, extension == "basicConstraints")) }
      certificate.sign(issuer_key, "SHA256")
    end
  end

  # Once it says itself that it accepts connections; false if it has ended.
  def ready?
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 10
    until File.exist?(log) && File.read(log).include?("eady to accept connections")
      return false if Process.wait(@pid, Process::WNOHANG)
      raise "#{PROGRAM.join(" ")} does not answer:\n#{File.read(log)}" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      IO.select(nil, nil, nil, 0.02)
    end
    true
  end
end
