require 'grpc'
require 'grpc/health/v1/health_services_pb'
require 'bentos/protos/oip_services_pb'

address = ARGV.shift

def say
  answer = yield
  puts "0 #{answer.to_json(preserve_proto_fieldnames: true)}"
rescue GRPC::BadStatus => error
  puts "#{error.code} #{error.details.tr("\n", ' ')}"
end

health = Grpc::Health::V1::Health::Stub.new(address, :this_channel_is_insecure)
model = Inference::GRPCInferenceService::Stub.new(address, :this_channel_is_insecure)
say { health.check(Grpc::Health::V1::HealthCheckRequest.new) }
ARGV.each { |file| say { model.model_infer(Inference::ModelInferRequest.decode_json(File.read(file))) } }
