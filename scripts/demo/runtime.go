package main

import (
	"bytes"
	"context"
	"os"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// runtime calls the plugins as container runtimes do, and listens to what they say on stderr.
type runtime struct {
	cni    *libcni.CNIConfig
	stderr *bytes.Buffer
}

// answer is what ADD printed, and how it came about.
type answer struct {
	result  *types100.Result
	took    time.Duration
	created []object
}

func newRuntime(plugins string) *runtime {
	// Plugins inherit the environment; this one makes them name each object they create.
	_ = os.Setenv("FAIRWAY_LOG", "debug") // fails for malformed names only
	r := &runtime{stderr: &bytes.Buffer{}}
	exec := &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: r.stderr}, PluginDecoder: version.PluginDecoder{}}
	r.cni = libcni.NewCNIConfigWithCacheDir([]string{plugins}, scratch+"/cache", exec)
	return r
}

func (r *runtime) add(c *container) (answer, error) {
	r.stderr.Reset()
	var printed types.Result
	took, err := timed(c, func() (err error) {
		printed, err = r.cni.AddNetworkList(context.Background(), c.network, c.config())
		return err
	})
	if err != nil {
		return answer{}, err
	}
	current, err := types100.NewResultFromResult(printed)
	return answer{result: current, took: took, created: createdObjects(r.stderr.String())}, err
}

// check gives the time that CHECK took, and what it found wrong.
func (r *runtime) check(c *container) (time.Duration, error) {
	return timed(c, func() error { return r.cni.CheckNetworkList(context.Background(), c.network, c.config()) })
}

func (r *runtime) del(c *container) (time.Duration, error) {
	return timed(c, func() error { return r.cni.DelNetworkList(context.Background(), c.network, c.config()) })
}

// collect sends GC to the network of a container, of which none is left.
func (r *runtime) collect(c *container) (time.Duration, error) {
	// An empty list says that none is alive, a missing one says nothing.
	none := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{}}
	return timed(c, func() error { return r.cni.GCNetworkList(context.Background(), c.network, none) })
}

// timed gives the time that a call on the container's host took.
func timed(c *container, call func() error) (took time.Duration, err error) {
	err = c.onHost(func() error {
		begin := time.Now()
		defer func() { took = time.Since(begin) }()
		return call()
	})
	return took, err
}

func (c *container) config() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: c.id, NetNS: c.Path, IfName: "eth0"}
}
