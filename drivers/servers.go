package drivers

import (
	"crypto/tls"
	"errors"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured"
)

// opened turns what a driver's Open returned into what [Open] returns: no nil pointer in an interface, and a server whose certificate
// is not accepted is a matter of configuration for all of them.
func opened[L logstructured.Log](log L, err error) (logstructured.Log, error) {
	if err == nil {
		return log, nil
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		err = connect.Configuration(err)
	}
	return nil, err
}
