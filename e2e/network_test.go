package e2e

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// network drives the plugins of one conflist as a runtime does, through libcni.
type network struct {
	list *libcni.NetworkConfigList
	cni  *libcni.CNIConfig
}

// newNetwork reads a conflist. What its plugins say on stderr is shown when the test fails.
func newNetwork(t *testing.T, conf []byte) network {
	t.Helper()
	list, err := libcni.NetworkConfFromBytes(conf)
	if err != nil {
		t.Fatal(err)
	}
	said := new(transcript)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("stderr of the plugins:\n%s", said)
		}
	})
	runner := &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: said}, PluginDecoder: version.PluginDecoder{}}
	return network{list: list, cni: libcni.NewCNIConfigWithCacheDir([]string{pluginDir}, t.TempDir(), runner)}
}

// attachment is eth0 of a container.
func attachment(id, netns string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: id, NetNS: netns, IfName: "eth0"}
}

// add attaches and gives back the addresses, with their prefix lengths.
func (n network) add(ctx context.Context, rt *libcni.RuntimeConf) ([]string, error) {
	answer, err := n.cni.AddNetworkList(ctx, n.list, rt)
	if err != nil {
		return nil, fmt.Errorf("add %s: %w", rt.ContainerID, err)
	}
	result, err := types100.NewResultFromResult(answer)
	if err != nil {
		return nil, fmt.Errorf("result of %s: %w", rt.ContainerID, err)
	}
	return addresses(result), nil
}

func (n network) check(ctx context.Context, rt *libcni.RuntimeConf) error {
	if err := n.cni.CheckNetworkList(ctx, n.list, rt); err != nil {
		return fmt.Errorf("check %s: %w", rt.ContainerID, err)
	}
	return nil
}

func (n network) del(ctx context.Context, rt *libcni.RuntimeConf) error {
	if err := n.cni.DelNetworkList(ctx, n.list, rt); err != nil {
		return fmt.Errorf("del %s: %w", rt.ContainerID, err)
	}
	return nil
}

// collect sends GC to the plugins and to nobody else: libcni would first delete what it finds in its cache.
func (n network) collect(t *testing.T, valid []string) error {
	t.Helper()
	args := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{}}
	for _, id := range valid {
		args.ValidAttachments = append(args.ValidAttachments, types.GCAttachment{ContainerID: id, IfName: "eth0"})
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	return libcni.NewCNIConfigWithCacheDir([]string{pluginDir}, t.TempDir(), nil).GCNetworkList(ctx, n.list, args)
}

// transcript collects what several processes write at once.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}
