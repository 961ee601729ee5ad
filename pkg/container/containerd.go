package container

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// DefaultAddress is containerd's socket unless it is configured otherwise.
const DefaultAddress = "/run/containerd/containerd.sock"

const (
	// askLimit bounds all questions together.
	askLimit = 10 * time.Second
	// answerLimit is what containerd's own client allows for one answer, in bytes.
	answerLimit = 16 << 20
)

// daemon is a containerd. Only its API is linked: its client also brings what images, snapshots and content need.
type daemon struct{ address string }

// containers is all containers of all namespaces. Those of a pod come after its sandbox.
func (d daemon) containers(ctx context.Context) ([]Container, error) {
	address := strings.TrimPrefix(cmp.Or(d.address, DefaultAddress), "unix://")
	if _, err := os.Stat(address); err != nil {
		return nil, fmt.Errorf("containerd could not be asked: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	conn, err := dial(address)
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", address, err)
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	all, err := listAll(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", address, plain(err))
	}
	return all, nil
}

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///containerd",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", address)
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a socket of root's
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(answerLimit)))
}

// plain is gRPC's error without its notation.
func plain(err error) error {
	if s, ok := status.FromError(err); ok {
		return errors.New(s.Message())
	}
	return err
}

func listAll(ctx context.Context, conn *grpc.ClientConn) (all []Container, err error) {
	namespaces, err := namespacesapi.NewNamespacesClient(conn).List(ctx, &namespacesapi.ListNamespacesRequest{})
	if err != nil {
		return nil, err
	}
	for _, namespace := range namespaces.Namespaces {
		found, err := listIn(ctx, conn, namespace.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// listIn is the containers of one namespace of containerd, sandboxes first.
func listIn(ctx context.Context, conn *grpc.ClientConn, namespace string) ([]Container, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
	listed, err := containersapi.NewContainersClient(conn).List(ctx, &containersapi.ListContainersRequest{})
	if err != nil {
		return nil, err
	}
	tasks, err := tasksapi.NewTasksClient(conn).List(ctx, &tasksapi.ListTasksRequest{})
	if err != nil && status.Code(err) != codes.NotFound {
		return nil, err
	}
	pids := map[string]uint32{}
	for _, t := range tasks.GetTasks() {
		if t.Status != task.Status_STOPPED {
			pids[t.ID] = t.Pid
		}
	}
	var sandboxes, others []Container
	for _, c := range listed.Containers {
		found := describe(namespace, c, pids[c.ID])
		if c.Labels[labelKind] == "sandbox" {
			sandboxes = append(sandboxes, found)
		} else {
			others = append(others, found)
		}
	}
	return append(sandboxes, others...), nil
}

// Labels by which containerd's clients name a container: nerdctl's, and those of CRI.
const (
	labelNerdctl      = "nerdctl/name"
	labelKind         = "io.cri-containerd.kind"
	labelPod          = "io.kubernetes.pod.name"
	labelPodNamespace = "io.kubernetes.pod.namespace"
	labelContainer    = "io.kubernetes.container.name"
)

// describe reads what containerd says of a container. Its process is 0 when it does not run.
func describe(namespace string, c *containersapi.Container, pid uint32) Container {
	found := Container{
		ID: c.ID, Runtime: "containerd namespace " + namespace, Netns: netnsOf(c.Spec.GetValue(), pid),
		ids: []string{c.ID},
	}
	if c.Labels[labelKind] == "" { // CRI gives CNI the ID alone
		found.ID = namespace + "-" + c.ID
		found.ids = append(found.ids, found.ID)
	}
	pod := c.Labels[labelPod]
	for _, name := range []string{c.Labels[labelNerdctl], pod, c.Labels[labelContainer]} {
		if name != "" {
			found.names = append(found.names, name)
		}
	}
	if pod != "" {
		found.names = append(found.names, c.Labels[labelPodNamespace]+"/"+pod)
	}
	found.Name = c.ID
	if len(found.names) > 0 {
		found.Name = found.names[0]
	}
	return found
}

// netnsOf is the path of a running container's network namespace: the one it was told to join, or that of its process.
func netnsOf(spec []byte, pid uint32) string {
	if pid == 0 {
		return ""
	}
	var runtime struct {
		Linux struct {
			Namespaces []struct{ Type, Path string }
		}
	}
	if json.Unmarshal(spec, &runtime) == nil { // else it is not an OCI specification
		for _, n := range runtime.Linux.Namespaces {
			if n.Type == "network" && n.Path != "" {
				return n.Path
			}
		}
	}
	return fmt.Sprintf("/proc/%d/ns/net", pid)
}
