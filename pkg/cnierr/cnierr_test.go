package cnierr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/claims"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/rescue"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
)

func TestCode(t *testing.T) {
	readOnly := &fs.PathError{Op: "open", Path: "/data", Err: syscall.EROFS}
	for _, tt := range []struct {
		err  error
		want uint
	}{
		{ErrVersion, 1},
		{ErrEnvironment, 4},
		{ErrConfig, 7},
		{ErrUnavailable, 50},
		{ErrDetached, 101},
		{hostlocal.ErrConfig, 7},
		{hostlocal.ErrOwner, 4},
		{hostlocal.ErrReserved, 11},
		{hostlocal.ErrExhausted, 11},
		{hostlocal.ErrBusy, 11},
		{claims.ErrBusy, 11},
		{hostlocal.ErrNotReserved, 100},
		{kernel.ErrBusy, 11},
		{kernel.ErrNoNamespace, 8},
		{kernel.ErrNotNamespace, 8},
		{state.ErrDrift, 100},
		{state.ErrExists, 4},
		{state.ErrConflict, 7},
		{state.ErrUnsupported, 7},
		{state.ErrAbsent, 7},
		{state.ErrLimited, 51},
		{vxlan.ErrUnderlay, 11},
		{vxlan.ErrTunnel, 11},
		{state.ErrFull, 11},
		{state.ErrVanished, 11},
		{overlay.ErrConfig, 7},
		{overlay.ErrNoBlock, 11},
		{overlay.ErrFenced, 11},

		{json.Unmarshal([]byte(`{`), &struct{}{}), 6},
		{json.Unmarshal([]byte(`[]`), &struct{}{}), 6},
		{readOnly, 5},
		{syscall.EPERM, 5},
		{types.NewError(51, "few addresses left", ""), 51},
		{types.NewError(0, "netplugin failed", ""), 999},
		{errors.New("anything else"), 999},

		{rescue.ErrPanic, 999},

		// What an error is about comes before the system's error that it wraps; of joined errors the first counts.
		{Errorf(ErrUnavailable, "%w", hostlocal.ErrExhausted), 50},
		{Errorf(ErrConfig, "key x: %w", readOnly), 7},
		{fmt.Errorf("ip link add br0: %w: %w", state.ErrVanished, syscall.ENODEV), 11},
		{errors.Join(readOnly, state.ErrDrift), 5},
		{errors.Join(state.ErrDrift, readOnly), 100},
		{errors.Join(nil, errors.New("first"), hostlocal.ErrBusy), 999},
		{errors.Join(fmt.Errorf("add: %w", errors.Join(state.ErrConflict, state.ErrVanished)), hostlocal.ErrBusy), 7},
		{Errorf(ErrUnavailable, "%w", errors.Join(state.ErrConflict, readOnly)), 50},
		{errors.Join(types.NewError(123, "delegate", ""), readOnly), 123},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			if got := Code(fmt.Errorf("context: %w", tt.err)); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestTable keeps TestCode complete.
func TestTable(t *testing.T) {
	const rows = 29
	if len(table) != rows {
		t.Errorf("the table has %d rows, TestCode knows %d", len(table), rows)
	}
}

// TestFirstOfJoined joins every two kinds of error, plain and wrapped: the first alone decides.
func TestFirstOfJoined(t *testing.T) {
	for _, first := range table {
		for _, second := range table {
			err := fmt.Errorf("add: %w", errors.Join(fmt.Errorf("link: %w", first.is), Errorf(second.is, "release")))
			if got := Code(err); got != first.code {
				t.Errorf("%v: got %d, want %d", err, got, first.code)
			}
		}
	}
}

func TestDocument(t *testing.T) {
	err := errors.Join(Errorf(ErrConfig, "key bridge is %q", `a"b`), errors.New("and more"))
	want := `{"cniVersion":"1.0.0","code":7,"msg":"key bridge is \"a\\\"b\"; and more"}` + "\n"
	if diff := cmp.Diff(want, string(Document(err, "1.0.0"))); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

func TestErrorf(t *testing.T) {
	err := Errorf(ErrUnavailable, "range is full: %w", hostlocal.ErrExhausted)
	if diff := cmp.Diff("range is full: no free address", err.Error()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	for _, is := range []error{ErrUnavailable, hostlocal.ErrExhausted} {
		if !errors.Is(err, is) {
			t.Errorf("%v is not %v", err, is)
		}
	}
	if plain := Errorf(ErrConfig, "key x"); !errors.Is(plain, ErrConfig) || errors.Is(plain, ErrVersion) {
		t.Errorf("%v is of another kind", plain)
	}
}
