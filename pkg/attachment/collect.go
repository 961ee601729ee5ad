package attachment

import (
	"context"
	"errors"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/fairway-cni/fairway/pkg/flock"
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

// Collect removes what is stale, on all networks: DEL for each attachment in the cache whose container has gone, then GC
// for the given networks, where their CNI version has it (1.1.0), with the attachments that are alive. It goes on past
// errors; removed are those that DEL has been run for.
//
// No Attach runs meanwhile. Other runtimes know nothing of that lock; what their plugins are attaching while Collect looks is
// taken for alive.
func (r Runtime) Collect(ctx context.Context, networks []*libcni.NetworkConfigList) (removed []Attachment, err error) {
	unlock, err := r.lockCache(ctx, flock.Lock)
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := r.List()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, a := range Stale(all) {
		if err := r.del(ctx, a); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, a)
	}
	attaching := underway()
	time.Sleep(recordTime) // for those that have just ended
	left, err := r.List()
	if err != nil {
		return removed, errors.Join(append(errs, err)...)
	}
	attaching = append(attaching, underway()...)
	for _, network := range networks {
		errs = append(errs, r.gc(ctx, network, left, attaching))
	}
	return removed, errors.Join(errs...)
}

// gc tells a network's plugins which attachments there are, and which are being made, on whatever network. Those of which
// DEL has failed are among them: libcni would only try once more.
func (r Runtime) gc(ctx context.Context, network *libcni.NetworkConfigList, left []Attachment, attaching []types.GCAttachment) error {
	valid := append([]types.GCAttachment{}, attaching...) // an empty list says that none is alive, and null says nothing
	for _, a := range left {
		if a.Network == network.Name {
			valid = append(valid, types.GCAttachment{ContainerID: a.ID, IfName: a.IfName})
		}
	}
	return pluginError(network.Name, r.libcni().GCNetworkList(ctx, network, &libcni.GCArgs{ValidAttachments: valid}))
}
