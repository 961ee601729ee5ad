package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/fairway-cni/fairway/pkg/wgtun"
)

// networkName is the same for both suites: each has a host of its own.
const networkName = "bench"

// bed is where one suite runs one case: a host, a network, and a namespace for every attachment to come. All of it is made
// before the first sample, because the kernel's work on namespaces goes on in the background.
type bed struct {
	entrant
	host    *testnet.Namespace
	runtime *libcni.CNIConfig
	network *libcni.NetworkConfigList
	data    string
	tunnels *wgtun.Devices // of an encrypted network; nil: none
	// fresh are the containers that were not attached yet.
	fresh []container
	all   []container
	// idle is what the host holds between two rounds.
	idle inventory
}

type container struct {
	id string
	ns *testnet.Namespace
	// server is where it asks for names; the zero value: 127.0.0.11.
	server netip.AddrPort
}

// openBed also runs a first round, which counts for nothing: it makes what is made once (the bridge, the tables, the index
// of the reservations).
func openBed(ctx context.Context, e entrant, scratch string, rounds int) (b *bed, err error) {
	dir := filepath.Join(scratch, e.name)
	b = &bed{entrant: e, data: filepath.Join(dir, "data"), runtime: e.runtime(filepath.Join(dir, "cache"))}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.network, err = e.network(e.Case, b.data); err != nil {
		return b, err
	}
	if err := reserve(filepath.Join(b.data, networkName), e.Reserved); err != nil {
		return b, err
	}
	if err := writePeers(b.data, e.Case); err != nil {
		return b, err
	}
	if b.host, err = newHost(e.name); err != nil {
		return b, err
	}
	if e.Encrypted {
		if err := b.attend(); err != nil {
			return b, err
		}
	}
	if err := b.prepareContainers(e.Present + e.width()*(rounds+1)); err != nil {
		return b, err
	}
	if err := b.publishOthers(e.Published); err != nil {
		return b, err
	}
	for _, present := range b.take(e.Present) {
		if _, err := b.do(ctx, add, present); err != nil {
			return b, err
		}
	}
	if _, err := b.round(ctx); err != nil {
		return b, err
	}
	b.idle, err = b.count()
	return b, err
}

func (b *bed) prepareContainers(n int) error {
	for i := range n {
		id := fmt.Sprintf("%s-%d", b.name, i)
		ns, err := testnet.New(id)
		if err != nil {
			return err
		}
		b.all = append(b.all, container{id: id, ns: ns})
	}
	b.fresh = b.all
	return nil
}

func (b *bed) take(n int) []container {
	taken := b.fresh[:n]
	b.fresh = b.fresh[n:]
	return taken
}

// close removes the namespaces and waits until the kernel has taken the host's links away, so that its work in the
// background does not fall into the next case.
func (b *bed) close() error {
	var errs []error
	for _, c := range b.all {
		errs = append(errs, c.ns.Close())
	}
	if b.tunnels != nil {
		b.tunnels.Close()
	}
	if b.host != nil {
		errs = append(errs, b.settle(), b.host.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(filepath.Dir(b.data)))...)
}

func (b *bed) settle() error {
	for range 1000 {
		left, err := ports(b.host)
		if err != nil || left == 0 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s: links of removed containers are still there after 10 s", b.name)
}
