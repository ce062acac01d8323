# frozen_string_literal: true

require "securerandom"

# One moment and the same ids in every run, for the programs that record fixtures.
module Frozen
  NOW = Time.at(1_795_408_404, 250, :millisecond)

  module Clock
    def clock_gettime(id, unit = :float_second)
      return super unless id == Process::CLOCK_REALTIME
      (unit == :millisecond) ? (NOW.to_r * 1000).to_i : super
    end
  end

  module Now
    def now(**) = NOW.dup
  end

  module Ids
    def hex(*) = "00112233445566778899aabb"
    def uuid(**) = "09899bde-380c-4610-81ee-95b04a06b5a5"
  end

  def self.freeze!
    Process.singleton_class.prepend(Clock)
    Time.singleton_class.prepend(Now)
    SecureRandom.singleton_class.prepend(Ids)
  end
end
