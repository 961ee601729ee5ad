package attach

import (
	"errors"
	"fmt"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/state"
	"golang.org/x/sys/unix"
)

func TestUnavailable(t *testing.T) {
	if err := unavailable(nil); err != nil {
		t.Errorf("nothing is wrong: got %v", err)
	}
	for _, tt := range []struct {
		err  error
		want uint
	}{
		{hostlocal.ErrExhausted, 50},
		{unix.EPERM, 50},
		{fmt.Errorf("nftables is %w", state.ErrUnsupported), 50},
		{fmt.Errorf("eth0 is %w", state.ErrAbsent), 50},
		{errors.New("anything else"), 50},
		{types.NewError(50, "delegate", ""), 50},
		{types.NewError(51, "delegate", ""), 51},
		{Invalidf("key mtu"), 7},
		{fmt.Errorf("br0 has another address, %w", state.ErrConflict), 50},
		{hostlocal.ErrConfig, 7},
		{types.NewError(6, "delegate", ""), 6},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			got := unavailable(tt.err)
			if code := cnierr.Code(got); code != tt.want {
				t.Errorf("code: got %d, want %d", code, tt.want)
			}
			if got.Error() != tt.err.Error() {
				t.Errorf("text: got %q, want %q", got, tt.err)
			}
		})
	}
}
