"""Remote calls as gRPC has them: protobuf messages over HTTP/2, without any knowledge of what is called."""
