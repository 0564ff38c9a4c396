package connect

import (
	"errors"
	"strings"
	"testing"
)

func TestRefuseKine(t *testing.T) {
	failure := errors.New("no answer")
	for _, test := range []struct {
		log, kine Presence
		err, want error
	}{
		{Missing, Missing, nil, nil},
		{Filled, Filled, nil, nil},
		{Missing, Filled, nil, ErrKine},
		{Empty, Empty, nil, ErrKine},
		{Empty, Missing, nil, nil},
		{Missing, Missing, failure, failure},
	} {
		err := RefuseKine("stele_log", func(query string) (Presence, error) {
			if strings.Contains(query, "stele_log") {
				return test.log, test.err
			}
			return test.kine, nil
		})
		if !errors.Is(err, test.want) {
			t.Errorf("log %d, kine %d: %v, want %v", test.log, test.kine, err, test.want)
		}
	}
}
