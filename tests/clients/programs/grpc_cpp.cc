// Generated code is included where it can be: reading gRPC's headers takes most of the time.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>

#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include "bentos/protos/health.grpc.pb.cc"
#include "bentos/protos/oip.pb.cc"
#include "bentos/protos/oip.grpc.pb.cc"

namespace json = google::protobuf::util;

void say(const grpc::Status& status, const google::protobuf::Message& answer) {
  std::string said = status.error_message();
  json::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  if (status.ok()) (void)json::MessageToJsonString(answer, &said, options);
  std::replace(said.begin(), said.end(), '\n', ' ');
  std::cout << status.error_code() << " " << said << std::endl;
}

int main(int count, char** given) {
  auto channel = grpc::CreateChannel(given[1], grpc::InsecureChannelCredentials());
  auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(30);
  {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    grpc::health::v1::HealthCheckResponse answer;
    say(grpc::health::v1::Health::NewStub(channel)->Check(&context, {}, &answer), answer);
  }
  auto model = inference::GRPCInferenceService::NewStub(channel);
  for (int file = 2; file < count; file++) {
    std::stringstream text;
    text << std::ifstream(given[file]).rdbuf();
    inference::ModelInferRequest request;
    if (!json::JsonStringToMessage(text.str(), &request).ok()) return 1;
    grpc::ClientContext context;
    context.set_deadline(deadline);
    inference::ModelInferResponse answer;
    say(model->ModelInfer(&context, request, &answer), answer);
  }
}
