package server

import (
	"path"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// registerReflection registers the reflection service with descriptors that clients can resolve.
func registerReflection(s *grpc.Server) {
	opts := reflection.ServerOptions{Services: s, DescriptorResolver: resolver{}}
	reflectionpb.RegisterServerReflectionServer(s, reflection.NewServerV1(opts))
	reflectionalphapb.RegisterServerReflectionServer(s, reflection.NewServer(opts))
}

// resolver resolves files and symbols in renamedFiles.
type resolver struct{}

func (resolver) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	files, err := renamedFiles()
	if err != nil {
		return nil, err
	}
	return files.FindFileByPath(path)
}

func (resolver) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	files, err := renamedFiles()
	if err != nil {
		return nil, err
	}
	return files.FindDescriptorByName(name)
}

// renamedFiles returns the registered files under the paths by which they import each other. etcd registers its files
// as rpc.proto, kv.proto and so on, but imports them as etcd/api/mvccpb/kv.proto, so that a client cannot find imported
// files by their paths.
var renamedFiles = sync.OnceValues(func() (*protoregistry.Files, error) {
	renamed := map[string]string{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Imports().Len() {
			imported := file.Imports().Get(i)
			if registered := path.Base(imported.Path()); imported.IsPlaceholder() && isRegistered(registered) {
				renamed[registered] = imported.Path()
			}
		}
		return true
	})
	var set descriptorpb.FileDescriptorSet
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		f := protodesc.ToFileDescriptorProto(file)
		if name, ok := renamed[f.GetName()]; ok {
			f.Name = proto.String(name)
		}
		for i, dependency := range f.Dependency {
			if name, ok := renamed[dependency]; ok {
				f.Dependency[i] = name
			}
		}
		set.File = append(set.File, f)
		return true
	})
	return protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(&set)
})

func isRegistered(path string) bool {
	_, err := protoregistry.GlobalFiles.FindFileByPath(path)
	return err == nil
}
