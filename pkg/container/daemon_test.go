package container

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"
)

// fakeDaemon answers as containerd does, on the socket at address.
type fakeDaemon struct {
	address string
	spaces  map[string]space
}

// space is a namespace of containerd.
type space struct {
	containers []*containersapi.Container
	tasks      []*task.Process
}

func startDaemon(t *testing.T, spaces map[string]space) fakeDaemon {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "containerd") // a test's own directory is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	d := fakeDaemon{address: filepath.Join(dir, "containerd.sock"), spaces: spaces}
	listener, err := net.Listen("unix", d.address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	namespacesapi.RegisterNamespacesServer(server, fakeNamespaces{spaces: spaces})
	containersapi.RegisterContainersServer(server, fakeContainers{spaces: spaces})
	tasksapi.RegisterTasksServer(server, fakeTasks{spaces: spaces})
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

type fakeNamespaces struct {
	namespacesapi.UnimplementedNamespacesServer
	spaces map[string]space
}

func (f fakeNamespaces) List(context.Context, *namespacesapi.ListNamespacesRequest) (*namespacesapi.ListNamespacesResponse, error) {
	answer := &namespacesapi.ListNamespacesResponse{}
	for name := range f.spaces {
		answer.Namespaces = append(answer.Namespaces, &namespacesapi.Namespace{Name: name})
	}
	return answer, nil
}

type fakeContainers struct {
	containersapi.UnimplementedContainersServer
	spaces map[string]space
}

func (f fakeContainers) List(ctx context.Context, _ *containersapi.ListContainersRequest) (*containersapi.ListContainersResponse, error) {
	return &containersapi.ListContainersResponse{Containers: f.spaces[namespaceOf(ctx)].containers}, nil
}

type fakeTasks struct {
	tasksapi.UnimplementedTasksServer
	spaces map[string]space
}

func (f fakeTasks) List(ctx context.Context, _ *tasksapi.ListTasksRequest) (*tasksapi.ListTasksResponse, error) {
	return &tasksapi.ListTasksResponse{Tasks: f.spaces[namespaceOf(ctx)].tasks}, nil
}

func namespaceOf(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	if values := md.Get("containerd-namespace"); len(values) == 1 {
		return values[0]
	}
	return ""
}

// labelled is a container of containerd, whose specification names a network namespace unless netns is empty.
func labelled(id, netns string, labels map[string]string) *containersapi.Container {
	spec := `{"linux": {"namespaces": [{"type": "pid"}, {"type": "network"}]}}`
	if netns != "" {
		spec = `{"linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "` + netns + `"}]}}`
	}
	return &containersapi.Container{ID: id, Labels: labels, Spec: &anypb.Any{Value: []byte(spec)}}
}

func running(id string, pid uint32) *task.Process {
	return &task.Process{ID: id, Pid: pid, Status: task.Status_RUNNING}
}
