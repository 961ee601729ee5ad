package attachment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// declaring is a plugin of fairway's that answers as the file answer.ID says.
const declaring = `#!/bin/sh
[ -n "$CNI_COMMAND" ] || { echo "noting: CNI plugin of fairway test" >&2; exit 0; }
cd "$(dirname "$0")" || exit 1
case $CNI_COMMAND in
CHECK)
	echo "$CNI_CONTAINERID $FAIRWAY_REDECLARE" >>calls
	[ ! -e "answer.$CNI_CONTAINERID" ] || { cat "answer.$CNI_CONTAINERID"; exit 1; } ;;
ADD) cat answer ;;
esac
`

// TestRepairFindsWhoDeclares: what a network's attachments share is declared by the newest that can, and by no other.
func TestRepairFindsWhoDeclares(t *testing.T) {
	const detached, broken = `{"cniVersion": "1.1.0", "code": 101, "msg": "not attached"}`, `{"cniVersion": "1.1.0", "code": 7, "msg": "no luck"}`
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    []string
		wrong   string
	}{
		{"the newest", nil, []string{"c3 all", "c1 own", "c2 own"}, ""},
		{"the newest has no link", map[string]string{"c3": detached}, []string{"c3 all", "c2 all", "c1 own"}, ""},
		{"the newest is wrong", map[string]string{"c3": broken}, []string{"c3 all", "c2 all", "c1 own"}, "no luck"},
		{"nobody has a link", map[string]string{"c1": detached, "c2": detached, "c3": detached}, []string{"c3 all", "c2 all", "c1 all"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, r := newPlugin(t)
			p.write(t, "noting", declaring)
			for i, id := range []string{"c1", "c2", "c3"} {
				a := attach(t, r, networkOf(t, "lamp", ""), Request{ID: id, Netns: testnet.NewNS(t, id).Path})
				made := time.Unix(int64(1000+i), 0)
				if err := os.Chtimes(filepath.Join(r.Cache, "results", "lamp-"+a.ID+"-eth0"), made, made); err != nil {
					t.Fatal(err)
				}
			}
			for id, answer := range tt.answers {
				p.write(t, "answer."+id, answer)
			}
			repaired, err := r.Repair(t.Context(), "")
			if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("got error %v, want %q", err, tt.wrong)
			}
			got := p.calls(t)
			if tt.answers == nil && got[1] > got[2] { // others are called side by side
				got[1], got[2] = got[2], got[1]
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if tt.wrong == "" && len(repaired) != 3 || tt.wrong != "" && len(repaired) != 2 {
				t.Errorf("repaired: %v", repaired)
			}
		})
	}
}

// TestRepairAsksAPlugin: a plugin that could not be asked whose it is may be fairway's, so that the repair has failed.
func TestRepairAsksAPlugin(t *testing.T) {
	p, r := newPlugin(t)
	attach(t, r, networkOf(t, "lamp", ""), Request{ID: "c1", Netns: testnet.NewNS(t, "c1").Path})
	p.write(t, "noting", "#!/bin/sh\nkill -9 $$\n")
	if repaired, err := r.Repair(t.Context(), ""); err == nil || len(repaired) > 0 {
		t.Errorf("repaired %v, error %v", repaired, err)
	}
	p.write(t, "noting", "#!/bin/sh\nexit 1\n") // one of another suite
	if _, err := r.Repair(t.Context(), ""); err != nil {
		t.Error(err)
	}
}
