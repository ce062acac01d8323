# frozen_string_literal: true

require_relative "helper"

# Ruby enqueues and Rust works, over every kind of connection, each to a server of its own.
describe "a connection" do
  include Compat

  def assert_works(server, url, env: {}, config: {url: url})
    @workers = []
    pool = Sidekiqs.pool(**config)
    jid = Sidekiqs.push(pool, "class" => "EchoJob", "args" => ["over there"])
    worker = WorkerProcess.rust(env: {"REDIS_URL" => url, "PROOF_URL" => config[:url] || "unix://#{config[:path]}"}.merge(env))
    @workers << worker
    told = -> { pool.with { |conn| conn.call("LRANGE", "proof:#{jid}", 0, -1) } }
    eventually { assert_equal ['["rust",["over there"]]'], told.call, worker.said }
    assert_equal 0, worker.stop.exitstatus
    refute_includes worker.said, "s3cr3t"
  ensure
    server.stop
  end

  it "goes over a Unix socket" do
    server = RedisServer.start(over: :unix)
    assert_works(server, server.url(as: "worker"), config: {path: server.socket})
  end

  it "gives a password" do
    server = RedisServer.start("--requirepass", "s3cr3t")
    assert_works(server, server.url(password: "s3cr3t"))
  end

  it "gives a name and a password" do
    server = RedisServer.start
    assert_works(server, server.url(as: "worker"), config: {url: server.url})
  end

  it "goes to a database by its number" do
    server = RedisServer.start
    assert_works(server, server.url(5, as: "worker"), config: {url: server.url(5)})
  end

  it "is encrypted, with a private authority" do
    server = RedisServer.start(over: :tls)
    config = {url: server.url, ssl_params: {ca_file: server.authority}}
    assert_works(server, server.url(as: "worker"), env: {"SSL_CERT_FILE" => server.authority, "PROOF_URL" => "unix://#{server.socket}"}, config: config)
  end

  it "is encrypted, to a server that is pinned or not verified" do
    sha256 = ->(server) { OpenSSL::Digest::SHA256.hexdigest(OpenSSL::X509::Certificate.new(File.read(File.join(server.dir, "server.pem"))).to_der) }
    [->(server) { {"REDIS_SSL_FINGERPRINT" => sha256.call(server)} }, ->(_) { {"REDIS_SSL_VERIFY_MODE" => "none"} }].each do |env|
      server = RedisServer.start(over: :tls)
      config = {url: server.url, ssl_params: {verify_mode: OpenSSL::SSL::VERIFY_NONE}}
      assert_works(server, server.url(as: "worker"), env: env.call(server).merge("PROOF_URL" => "unix://#{server.socket}"), config: config)
    end
  end

  it "is refused where the authority is not trusted" do
    server = RedisServer.start(over: :tls)
    said, code = WorkerProcess.run(WorkerProcess::RUST, env: {"REDIS_URL" => server.url})
    server.stop
    assert_equal 1, code, said
    assert_match(/certificate|UnknownIssuer/i, said)
  end
end
