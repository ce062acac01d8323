module Ferrokiq
  # Checks the arguments of a job before it is enqueued: their number (ArgumentError) and their types (TypeError). Says which one does not
  # fit, never what it is.
  class Contract
    INTEGERS = %w[int8 int16 int32 int64 int128].zip([8, 16, 32, 64, 128]).flat_map { |format, bits|
      [[format, -(1 << (bits - 1))..(1 << (bits - 1)) - 1], ["u#{format}", 0..(1 << bits) - 1]]
    }.to_h.merge("int" => -(1 << 63)..(1 << 63) - 1, "uint" => 0..(1 << 64) - 1)

    # Has each way to enqueue a class check first.
    def self.check(klass, takes:, definitions:, rest: false)
      contract = new(klass, takes, definitions, rest)
      guard = Module.new do
        %i[perform_async perform_inline perform_sync].each do |name|
          define_method(name) { |*args| contract.check(args) && super(*args) }
        end
        %i[perform_in perform_at].each do |name|
          define_method(name) { |at, *args| contract.check(args) && super(at, *args) }
        end
        define_method(:perform_bulk) do |jobs, **options|
          jobs = jobs.to_a
          jobs.each { |args| contract.check(args) }
          super(jobs, **options)
        end
        define_method(:set) { |options| super(options).extend(guard) }
      end
      klass.extend(guard)
    end

    def initialize(klass, takes, definitions, rest)
      @klass, @takes, @definitions, @rest = klass, takes, definitions, rest
    end

    def check(args)
      if !@rest && args.size != @takes.size
        raise ArgumentError, "#{@klass}: wrong number of arguments (given #{args.size}, expected #{@takes.size})"
      end
      args.each_with_index do |value, at|
        name, schema = @takes[@rest ? 0 : at]
        kind, path, complaint = fault(schema, value, name)
        raise kind, "#{@klass}: argument #{at + 1} (#{path}) #{complaint}" if kind
      end
      true
    end

    private

    # What is wrong with a value: kind of error, where, and in words; nil if nothing is.
    def fault(schema, value, path)
      return if schema == true
      return [TypeError, path, "is not allowed"] if schema == false

      if (definition = schema["$ref"])
        found = fault(@definitions.fetch(definition.delete_prefix("#/$defs/")), value, path)
        return found if found
      end
      types = Array(schema["type"])
      unless types.empty? || types.any? { |type| of?(type, value) }
        return [TypeError, path, "must be #{types.join(" or ")}, not #{value.class}"]
      end
      if (schema.key?("const") && schema["const"] != value) || schema["enum"]&.none? { |allowed| allowed == value }
        return [value.is_a?(String) ? ArgumentError : TypeError, path, "is none of the values it may be"]
      end
      schema["allOf"]&.each { |each| (found = fault(each, value, path)) && (return found) }
      if (kinds = schema["anyOf"] || schema["oneOf"])
        found = fault_of_all(kinds, value, path)
        return found if found
      end
      inside(schema, value, path)
    end

    def of?(type, value)
      case type
      when "string" then value.is_a?(String)
      when "integer" then value.is_a?(Integer)
      when "number" then value.is_a?(Integer) || value.is_a?(Float)
      when "boolean" then value == true || value == false
      when "null" then value.nil?
      when "array" then value.is_a?(Array)
      when "object" then value.is_a?(Hash)
      else true
      end
    end

    def fault_of_all(kinds, value, path)
      found = kinds.map { |kind| fault(kind, value, path) }
      return if found.any?(&:nil?)

      # The one that got furthest, where only it is meant; nil is said by nobody who means something.
      told = kinds.zip(found).reject { |kind, _| kind.is_a?(Hash) && kind["type"] == "null" }
      (told.size == 1) ? told[0][1] : [TypeError, path, "is of none of the kinds it may be, but #{value.class}"]
    end

    def inside(schema, value, path)
      case value
      when Integer, Float then inside_number(schema, value, path)
      when String then inside_string(schema, value, path)
      when Array then inside_array(schema, value, path)
      when Hash then inside_hash(schema, value, path)
      end
    end

    def inside_number(schema, value, path)
      range = value.is_a?(Integer) && INTEGERS[schema["format"]]
      outside = (range && !range.cover?(value)) ||
        (schema["minimum"] && value < schema["minimum"]) || (schema["maximum"] && value > schema["maximum"])
      [ArgumentError, path, "is out of range"] if outside
    end

    def inside_string(schema, value, path)
      short = schema["minLength"] && value.size < schema["minLength"]
      long = schema["maxLength"] && value.size > schema["maxLength"]
      [ArgumentError, path, "is too #{short ? "short" : "long"}"] if short || long
    end

    def inside_array(schema, value, path)
      few = schema["minItems"] && value.size < schema["minItems"]
      many = schema["maxItems"] && value.size > schema["maxItems"]
      return [ArgumentError, path, "has too #{few ? "few" : "many"} items"] if few || many

      first = schema["prefixItems"] || []
      value.each_with_index do |item, at|
        found = fault(first.fetch(at) { schema.fetch("items", true) }, item, "#{path}[#{at}]")
        return found if found
      end
      nil
    end

    def inside_hash(schema, value, path)
      missing = schema["required"]&.find { |key| !value.key?(key) }
      return [ArgumentError, path, "lacks #{missing.inspect}"] if missing

      properties = schema["properties"] || {}
      value.each do |key, item|
        return [TypeError, path, "has a key that is no String"] unless key.is_a?(String)

        # Only a key that the job knows is named: others are part of the value.
        known = properties.key?(key)
        allowed = known ? properties[key] : schema.fetch("additionalProperties", true)
        found = fault(allowed, item, known ? "#{path}.#{key}" : "#{path}[]")
        return found if found
      end
      nil
    end
  end
end
