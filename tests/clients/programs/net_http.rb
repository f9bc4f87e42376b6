require 'net/http'

url = URI(ARGV.shift)
say = ->(answer) { puts "#{answer.code} #{answer.body.tr("\n", ' ')}" }

Net::HTTP.start(url.host, url.port) do |http|
  say.(http.get('/readyz'))
  ARGV.each { |file| say.(http.post('/predict', File.binread(file), 'Content-Type' => 'application/json')) }
end
