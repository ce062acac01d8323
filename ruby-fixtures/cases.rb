# frozen_string_literal: true

# What the golden corpus records: one entry per case. `given` is data, so that both languages can do the same with it.

module Cases
  # Before Sidekiq 8, times in a payload are seconds with a fraction.
  def self.stamped(raw, major)
    (major >= 8) ? raw : raw.gsub(/("\w+_at":\d{10})(\d{3})\b/, '\1.\2')
  end

  def self.run(major) = RUN.transform_values { |raw| stamped(raw, major) }

  def self.due(major) = DUE.transform_values { |set, raw| [set, stamped(raw, major)] }

  # Client calls. `call` is a method of Sidekiq::Client, `item` its argument.
  ENQUEUE = {
    "plain" => {"call" => "push", "item" => {"class" => "EchoJob", "args" => [1, "two", {"k" => [1.5, nil, true]}]}},
    "own_order" => {"call" => "push", "item" => {"jid" => "abcabcabcabcabcabcabcabc", "zzz" => 1, "args" => [], "class" => "X", "queue" => "sym", "created_at" => 1.25}},
    "options" => {"call" => "push", "item" => {"class" => "HardJob", "queue" => "critical", "retry" => 5, "backtrace" => 3, "tags" => %w[a b], "args" => []}},
    "retry_false" => {"call" => "push", "item" => {"class" => "X", "retry" => false, "args" => []}},
    "retry_null" => {"call" => "push", "item" => {"class" => "X", "retry" => nil, "args" => []}},
    "jid_null" => {"call" => "push", "item" => {"jid" => nil, "class" => "X", "args" => []}},
    "retry_for_float" => {"call" => "push", "item" => {"class" => "X", "args" => [], "retry_for" => 3600.9}},
    "tags_null" => {"call" => "push", "item" => {"class" => "X", "args" => [], "tags" => nil}},
    "queue_with_spaces" => {"call" => "push", "item" => {"class" => "X", "args" => [], "queue" => "mit Leerzeichen é"}},
    "text" => {"call" => "push", "item" => {"class" => "X", "args" => ["é漢 \u2028 </script> & ' / \\ \" \n\t\u0001\u007f"]}},
    "numbers" => {"call" => "push", "item" => {"class" => "X", "args" => [123456789012345678901234, -5, 0, 1.5, 100.0, -0.0]}},
    "scheduled" => {"call" => "push", "item" => {"class" => "X", "args" => [], "at" => 2_000_000_000.5}},
    "scheduled_integer" => {"call" => "push", "item" => {"class" => "X", "args" => [], "at" => 2_000_000_000}},
    "scheduled_in_the_past" => {"call" => "push", "item" => {"class" => "X", "args" => [], "at" => 1}},
    "bulk" => {"call" => "push_bulk", "item" => {"class" => "EchoJob", "queue" => "many", "args" => [[1], [2], [3]]}},
    "bulk_at" => {"call" => "push_bulk", "item" => {"class" => "EchoJob", "args" => [[1], [2]], "at" => [2_000_000_000, 2_000_000_001.5]}},
    "bulk_one_time" => {"call" => "push_bulk", "item" => {"class" => "EchoJob", "args" => [[1], [2]], "at" => 2_000_000_000.25}},
    "bulk_spread" => {"call" => "push_bulk", "item" => {"class" => "EchoJob", "args" => [[1]], "spread_interval" => 60}},
    "bulk_spread_shortest" => {"call" => "push_bulk", "item" => {"class" => "EchoJob", "args" => [[1]], "spread_interval" => 1}},
    "carried" => {"call" => "push", "item" => {"class" => "X", "args" => [], "expires_in" => 3600, "bid" => "B1", "encrypt" => true, "cattr" => {"x" => 1}, "locale" => "de", "display_class" => "Shown", "log_level" => "debug", "wrapped" => "Inner"}},
    "bulk_empty" => {"call" => "push_bulk", "item" => {"class" => "EchoJob", "args" => []}},
    "no_class" => {"call" => "push", "item" => {"args" => []}},
    "no_args" => {"call" => "push", "item" => {"class" => "X"}},
    "args_object" => {"call" => "push", "item" => {"class" => "X", "args" => {"a" => 1}}},
    "at_null" => {"call" => "push", "item" => {"class" => "X", "args" => [], "at" => nil}},
    "at_text" => {"call" => "push", "item" => {"class" => "X", "args" => [], "at" => "tomorrow"}},
    "tags_text" => {"call" => "push", "item" => {"class" => "X", "args" => [], "tags" => "a"}},
    "queue_empty" => {"call" => "push", "item" => {"class" => "X", "args" => [], "queue" => ""}},
    "queue_null" => {"call" => "push", "item" => {"class" => "X", "args" => [], "queue" => nil}},
    "retry_for_a_moment" => {"call" => "push", "item" => {"class" => "X", "args" => [], "retry_for" => 1_000_000_001}}
  }.freeze

  # Jobs as they lie in `queue:default`, run once. The classes are those of jobs.rb.
  RUN = {
    "first_failure" => %q({"retry":3,"queue":"default","args":["boom é"],"class":"FailJob","jid":"a6","created_at":1795408384695,"enqueued_at":1795408384695}),
    "second_failure" => %q({"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"enqueued_at":1795408404219,"error_message":"old","error_class":"NameError","failed_at":1795408385534,"retry_count":0}),
    "last_failure" => %q({"retry":2,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"error_message":"old","error_class":"NameError","failed_at":1795408385534,"retry_count":1,"retried_at":1795408385999}),
    "after_manual_retry" => %q({"retry":2,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"failed_at":1795408385534,"retry_count":-1}),
    "retry_count_null" => %q({"retry":2,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"retry_count":null}),
    "retry_false" => %q({"retry":false,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "retry_null" => %q({"retry":null,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "retry_absent" => %q({"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "retry_absent_class_says_0" => %q({"queue":"default","args":["boom"],"class":"DoomedJob","jid":"a6","created_at":1795408384695}),
    "retry_0" => %q({"retry":0,"queue":"default","args":["boom"],"class":"DoomedJob","jid":"a6","created_at":1795408384695}),
    "retry_text" => %q({"retry":"7","queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "dead_false" => %q({"retry":0,"dead":false,"queue":"default","args":["boom"],"class":"DoomedJob","jid":"a6","created_at":1795408384695}),
    "dead_null" => %q({"retry":0,"dead":null,"queue":"default","args":["boom"],"class":"DoomedJob","jid":"a6","created_at":1795408384695}),
    "retry_queue" => %q({"retry":true,"retry_queue":"slow","queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "other_queue_than_it_says" => %q({"retry":true,"queue":"elsewhere","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "retry_for_alive" => %q({"retry":0,"retry_for":3600,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "retry_for_over" => %q({"retry":true,"retry_for":3600,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"failed_at":1600000000123,"retry_count":3}),
    "retry_in" => %q({"retry":3,"queue":"default","args":["boom"],"class":"PatientJob","jid":"a6","created_at":1795408384695}),
    "retry_in_kill" => %q({"retry":3,"queue":"default","args":["boom"],"class":"KilledJob","jid":"a6","created_at":1795408384695}),
    "retry_in_discard" => %q({"retry":3,"queue":"default","args":["boom"],"class":"DiscardedJob","jid":"a6","created_at":1795408384695}),
    "retries_exhausted" => %q({"retry":0,"queue":"default","args":["boom"],"class":"LastWordJob","jid":"a6","created_at":1795408384695}),
    "retries_exhausted_discards" => %q({"retry":0,"queue":"default","args":["discard"],"class":"LastWordJob","jid":"a6","created_at":1795408384695}),
    "unknown_keys" => %q({"zzz":{"b":1,"a":[null,1.5]},"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"cattr":{"x":1},"locale":"de","tags":["vip"],"bid":"B1","unique_for":60}),
    "carried" => %q({"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"expires_in":3600,"encrypt":true,"display_class":"Shown","log_level":"debug","wrapped":"Inner","at_most":null}),
    "big_integer" => %q({"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"n":123456789012345678901234}),
    "no_created_at" => %q({"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6"}),
    "long_message" => %({"retry":true,"queue":"default","args":["#{"é" * 12_000}"],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "hostile_message" => %q({"retry":true,"queue":"default","args":["<script>alert(1)</script> \u0000 \u001b[31m \" \\\\ / "],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "backtrace" => %q({"retry":true,"backtrace":2,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "backtrace_false" => %q({"retry":true,"backtrace":false,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695}),
    "unknown_class" => %q({"retry":true,"queue":"default","args":[1],"class":"NoSuchJob","jid":"a6","created_at":1795408384695}),
    "unknown_class_retry_false" => %q({"retry":false,"queue":"default","args":[1],"class":"NoSuchJob","jid":"a6","created_at":1795408384695}),
    "too_few_arguments" => %q({"retry":true,"queue":"default","args":[1],"class":"StrictJob","jid":"a6","created_at":1795408384695}),
    "too_many_arguments" => %q({"retry":true,"queue":"default","args":[1,"x",3],"class":"StrictJob","jid":"a6","created_at":1795408384695}),
    "malformed" => %q({"class":"EchoJob","args":[),
    "success" => %q({"retry":true,"queue":"default","args":["string",7,{"mike":"bob"}],"class":"NoopJob","jid":"a6","created_at":1795408384695}),
    "success_without_args" => %q({"retry":true,"queue":"default","class":"EchoJob","jid":"a6","created_at":1795408384695}),
    # From here on Rust differs on purpose; see compat-tests/accepted_differences.json.
    "json_array" => "[]",
    "json_text" => %q("text"),
    "retry_count_text" => %q({"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"retry_count":"3"}),
    "retry_for_without_failed_at" => %q({"retry":true,"retry_for":60,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"retry_count":1}),
    "unknown_class_retry_absent" => %q({"queue":"default","args":[1],"class":"NoSuchJob","jid":"a6","created_at":1795408384695}),
    "duplicate_keys" => %q({"retry":true,"queue":"default","args":["boom"],"class":"NoSuchJob","class":"FailJob","jid":"a6","created_at":1795408384695}),
    "seconds" => %q({"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384.695}),
    "float_spelling" => %q({"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"f":1.10,"g":1.0e+20,"s":"\u00e9\/"}),
    "log_level" => %q({"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"log_level":"debug"}),
    "log_level_invalid" => %q({"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"log_level":"loud"}),
    "infinite_argument" => %q({"retry":true,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"x":1e400}),
    "args_object" => %q({"retry":true,"queue":"default","args":{"a":1},"class":"StrictJob","jid":"a6","created_at":1795408384695})
  }.freeze

  # Members of a sorted set that are due, looked at once by the poller.
  DUE = {
    "scheduled" => ["schedule", %q({"retry":true,"queue":"low","class":"EchoJob","args":[1],"jid":"a6","created_at":1795408384695})],
    "retry" => ["retry", %q({"retry":3,"queue":"default","args":["boom"],"class":"FailJob","jid":"a6","created_at":1795408384695,"enqueued_at":1795408384695,"error_message":"boom","error_class":"ArgumentError","failed_at":1795408385519,"retry_count":0})],
    "retry_big_integer" => ["retry", %q({"retry":3,"queue":"default","args":[123456789012345678901234],"class":"FailJob","jid":"a6","created_at":1795408384695,"zzz":{"b":1,"a":2}})],
    "at_in_the_future" => ["schedule", %q({"retry":true,"queue":"low","class":"EchoJob","args":[1],"jid":"a6","created_at":1795408384695,"at":2000000000.5})],
    # Rust differs on purpose.
    "no_created_at" => ["retry", %q({"class":"FailJob","args":["x"],"jid":"manual1","queue":"other","retry":true})],
    "no_class" => ["schedule", %q({"retry":true,"queue":"low","args":[1],"jid":"a6"})]
  }.freeze
end
