package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/golang/protobuf/jsonpb"
	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"inference"
)

func say(answer proto.Message, err error) {
	said := status.Convert(err).Message()
	if err == nil {
		said, _ = (&jsonpb.Marshaler{OrigName: true}).MarshalToString(answer)
	}
	fmt.Println(int(status.Code(err)), strings.ReplaceAll(said, "\n", " "))
}

func main() {
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		panic(err)
	}
	context, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	say(grpc_health_v1.NewHealthClient(connection).Check(context, &grpc_health_v1.HealthCheckRequest{}))
	for _, name := range os.Args[2:] {
		file, err := os.Open(name)
		if err != nil {
			panic(err)
		}
		request := &inference.ModelInferRequest{}
		if err := jsonpb.Unmarshal(file, request); err != nil {
			panic(err)
		}
		say(inference.NewGRPCInferenceServiceClient(connection).ModelInfer(context, request))
	}
}
