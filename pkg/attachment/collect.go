package attachment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Stale is the attachments whose container has gone.
func Stale(all []Attachment) (stale []Attachment) {
	for _, a := range all {
		if !a.Alive() {
			stale = append(stale, a)
		}
	}
	return stale
}

// Collect removes what is stale, on all networks: DEL for each attachment in the caches whose container has gone, and for what
// a killed process was attaching, then GC for the given networks, where their CNI version has it (1.1.0), with the
// attachments that are alive. It goes on past errors; removed are those that DEL has been run for.
//
// No Attach to the same network runs meanwhile. Other runtimes know nothing of that lock; what their plugins are attaching while
// Collect looks is taken for alive, and so is what the kernel has of containers without a record.
func (r Runtime) Collect(ctx context.Context, networks []*libcni.NetworkConfigList) (removed []Attachment, err error) {
	if err := r.setAsideDamaged(""); err != nil {
		return nil, err
	}
	all, err := r.List()
	if err != nil {
		return nil, err
	}
	return r.CollectOf(ctx, networks, all)
}

// CollectOf is Collect for who has listed all attachments a moment ago, and has damaged records as they are.
func (r Runtime) CollectOf(ctx context.Context, networks []*libcni.NetworkConfigList, all []Attachment) (removed []Attachment, err error) {
	lists := map[string]*libcni.NetworkConfigList{} // nil: the network's file has gone
	interrupted, err := r.Interrupted()
	errs := []error{err}
	for _, a := range append(Stale(all), interrupted...) {
		lists[a.Network] = nil
	}
	for _, network := range networks {
		lists[network.Name] = network
	}
	var attaching []types.GCAttachment
	if len(lists) > 0 {
		attaching = underway()
		time.Sleep(recordTime) // for those that have just ended
	}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		found, err := r.collectOn(ctx, name, lists[name], attaching)
		removed, errs = append(removed, found...), append(errs, err)
	}
	errs = append(errs, r.removeFree(namesDir, nil), r.removeFree(locksDir, func(name string) bool {
		_, used := lists[name]
		return used || slices.ContainsFunc(all, func(a Attachment) bool { return a.Network == name })
	}))
	return removed, errors.Join(errs...)
}

// removeFree removes the files of locks that nobody holds: names of containers whose processes were killed, and networks that were
// removed. Who waits for one finds that it has gone, and makes it anew.
func (r Runtime) removeFree(name string, used func(string) bool) error {
	dir, err := r.openDir(name)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }() // nothing was written
	entries, err := os.ReadDir(filepath.Join(r.dir(), name))
	errs := []error{err}
	for _, e := range entries {
		if used != nil && used(e.Name()) {
			continue
		}
		fd, err := flock.Try(dir, e.Name())
		if err != nil {
			continue // it is in use
		}
		errs = append(errs, unix.Unlinkat(dir, e.Name(), 0))
		_ = unix.Close(fd) // nothing was written
	}
	return errors.Join(errs...)
}

// collectOn is Collect on one network.
func (r Runtime) collectOn(ctx context.Context, name string, network *libcni.NetworkConfigList, attaching []types.GCAttachment) (removed []Attachment, err error) {
	unlock, err := r.lockAlone(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	removed, err = r.takeBackInterrupted(ctx, name)
	errs := []error{err}
	all, _, err := r.list(name)
	if err != nil {
		return removed, errors.Join(append(errs, err)...)
	}
	var left []Attachment
	for _, a := range all {
		if !a.Alive() {
			err := r.del(ctx, a)
			if err == nil {
				removed = append(removed, a)
				continue
			}
			errs = append(errs, err)
		}
		left = append(left, a)
	}
	if network != nil {
		errs = append(errs, r.gc(ctx, network, left, append(underway(), attaching...)))
	}
	return removed, errors.Join(errs...)
}

// gc tells a network's plugins which attachments there are, and which are being made, on whatever network. Those of which
// DEL has failed are among them: libcni would only try once more. Where the kernel has one whose owner cannot be told, the plugins are
// not asked, as they would take it away.
func (r Runtime) gc(ctx context.Context, network *libcni.NetworkConfigList, left []Attachment, attaching []types.GCAttachment) error {
	valid := append([]types.GCAttachment{}, attaching...) // an empty list says that none is alive, and null says nothing
	for _, a := range left {
		if a.tagOnly {
			r.warn(fmt.Errorf("network %s: nothing is looked for, as a container without a record is on it whose ID is not known: %s", network.Name, a.ID))
			return nil
		}
		valid = append(valid, types.GCAttachment{ContainerID: a.ID, IfName: a.IfName})
	}
	if r.Holders != nil {
		for _, o := range r.Holders(network) {
			valid = append(valid, types.GCAttachment{ContainerID: o.ContainerID, IfName: o.IfName})
		}
	}
	err := pluginError(network.Name, r.libcni().GCNetworkList(ctx, network, &libcni.GCArgs{ValidAttachments: valid}))
	if r.Prune == nil {
		return err
	}
	owners := make([]state.Owner, 0, len(valid))
	for _, v := range valid {
		owners = append(owners, state.Owner{Network: network.Name, ContainerID: v.ContainerID, IfName: v.IfName})
	}
	return errors.Join(err, r.Prune(network.Name, owners))
}
