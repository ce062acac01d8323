# frozen_string_literal: true

# Draws what stands in a terminal as a page of HTML, for a picture of it (docs/top.png):
#   tmux capture-pane -ep | bin/lib/in-ruby -- ruby bin/lib/picture.rb >screen.html
#   chromium --headless --no-sandbox --hide-scrollbars --force-device-scale-factor=2 --window-size=WIDTH,HEIGHT --screenshot=docs/top.png screen.html
# It says on standard error which width and height that is.

require "cgi"

# Colours as terminals of today have them: the first eight, then the light ones.
COLOURS = %w[#3b4048 #e06c75 #98c379 #e5c07b #61afef #c678dd #56b6c2 #dcdfe4 #6b727e #ff7a85 #b5e890 #ffd68a #7cc0ff #e29bf0 #74d4df #ffffff].freeze
TEXT, GROUND = "#d7dae0", "#1b1e24"
# A cell of a 14 px font, in pixels.
CELL, LINE = 8.5, 17

class Pen
  def initialize = @style = {}

  # What an escape sequence says.
  def apply(codes)
    codes = [0] if codes.empty?
    while (code = codes.shift)
      case code
      when 0 then @style.clear
      when 1 then @style[:bold] = true
      when 4 then @style[:underlined] = true
      when 7 then @style[:reversed] = true
      when 30..37 then @style[:fg] = COLOURS[code - 30]
      when 39 then @style.delete(:fg)
      when 40..47 then @style[:bg] = COLOURS[code - 40]
      when 49 then @style.delete(:bg)
      when 90..97 then @style[:fg] = COLOURS[code - 82]
      when 100..107 then @style[:bg] = COLOURS[code - 92]
      when 38, 48 then codes.shift == 5 && @style[code == 38 ? :fg : :bg] = COLOURS[codes.shift.to_i % 16]
      end
    end
  end

  def css
    colour, ground = @style[:fg] || TEXT, @style[:bg]
    colour, ground = ground || GROUND, colour if @style[:reversed]
    ["color:#{colour}", ground && "background:#{ground}", @style[:bold] && "font-weight:bold", @style[:underlined] && "text-decoration:underline"].select(&:itself).join(";")
  end
end

lines = $stdin.read.force_encoding("UTF-8").lines(chomp: true)
pen = Pen.new
rows = lines.map do |line|
  cells = line.split(/(\e\[[0-9;]*m)/).reject(&:empty?).map do |piece|
    next pen.apply(piece[2..-2].split(";").map(&:to_i)).then { nil } if piece.start_with?("\e")
    # One cell each: braille and arrows come from other fonts, and are wider.
    "<span style=\"#{pen.css}\">#{piece.each_char.map { |char| "<i>#{CGI.escapeHTML(char)}</i>" }.join}</span>"
  end
  "<div>#{cells.join}</div>"
end
columns = lines.map { |line| line.gsub(/\e\[[0-9;]*m/, "").size }.max.to_i
warn "#{(columns * CELL).ceil + 32},#{lines.size * LINE + 32}"
puts <<~HTML
  <!doctype html><meta charset="utf-8">
  <style>
    body { margin: 0; padding: 16px; background: #{GROUND}; }
    div { font: 14px/#{LINE}px "DejaVu Sans Mono", monospace; height: #{LINE}px; white-space: pre; }
    i { display: inline-block; width: #{CELL}px; font-style: normal; text-decoration: inherit; text-align: center; overflow: hidden; vertical-align: top; height: #{LINE}px; }
  </style>
  #{rows.join("\n")}
HTML
