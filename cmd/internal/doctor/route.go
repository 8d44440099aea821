package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strings"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator"
)

// route goes the way to Orchestrator step by step, as far as it leads.
func (l *tenant) route(ctx context.Context) bool {
	if l.Config.Transport != nil {
		l.ok(checkURL, "%s, in this process", l.Config.BaseURL)
		return true
	}
	found, err := orchestrator.FindRoute(ctx, l.Config)
	if err != nil {
		l.fail(cli.ExitUsage, checkURL, "correct UIPATH_URL (url): https://cloud.uipath.com/organization/tenant/orchestrator_, or https://host on-premises", "%v", err)
		l.skipAll(checkURL, checkName, checkConnection, checkTLS, checkAnswer)
		return false
	}
	l.url(found)
	for _, step := range []struct {
		of    orchestrator.Step
		check string
		seen  func(orchestrator.Route)
	}{
		{orchestrator.StepName, checkName, l.resolved},
		{orchestrator.StepConnect, checkConnection, l.connected},
		{orchestrator.StepTLS, checkTLS, l.secured},
		{orchestrator.StepAnswer, checkAnswer, l.answered},
	} {
		switch {
		case found.Failed == 0 || step.of < found.Failed:
			step.seen(found)
		case step.of == found.Failed:
			code, mend := l.mendStep(found)
			l.fail(code, step.check, mend, "%s", oneLine(found.Err))
		default:
			l.skipAll("the step before", step.check)
		}
	}
	return found.Failed == 0
}

// url: a token that travels without TLS is anybody's on the way.
func (l *tenant) url(found orchestrator.Route) {
	text := l.Config.BaseURL
	if found.Proxy != "" {
		text += ", by the proxy " + found.Proxy + " (HTTPS_PROXY)"
	}
	u, err := url.Parse(l.Config.BaseURL)
	host, _, splitErr := net.SplitHostPort(found.Host)
	if splitErr != nil {
		host = found.Host
	}
	if err == nil && u.Scheme == "http" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		l.warn(checkURL, "use https:// in UIPATH_URL (url)", "%s: no TLS to a server elsewhere, to which tokens are sent", text)
		return
	}
	l.ok(checkURL, "%s", text)
}

func (l *tenant) resolved(found orchestrator.Route) {
	switch {
	case len(found.Addresses) > 0:
		l.ok(checkName, "%s is %s", orElse(found.Proxy, found.Host), strings.Join(found.Addresses, ", "))
	default:
		l.ok(checkName, "%s needs no look-up", orElse(found.Proxy, found.Host))
	}
}

func (l *tenant) connected(found orchestrator.Route) { l.ok(checkConnection, "to %s", found.Connected) }

func (l *tenant) secured(found orchestrator.Route) {
	if found.TLS == nil {
		l.ok(checkTLS, "none, as the URL says")
		return
	}
	text := tls.VersionName(found.TLS.Version)
	if l.CA {
		text += ", trusted by caFile (UIPATH_CA) or the system"
	}
	if found.CertificateAsked {
		text += ", client certificate asked for"
		if len(l.Config.ClientCertificates) == 0 {
			text += " and none set"
		}
	}
	if found.Certificate == nil {
		l.ok(checkTLS, "%s", text)
		return
	}
	l.certificate(checkTLS, text, found.Certificate)
}

// answered: a call without a token is refused, in JSON. Anything else is a page
// of a proxy, or another server's.
func (l *tenant) answered(found orchestrator.Route) {
	if found.Instead != "" {
		l.warn(checkAnswer, "check UIPATH_URL (url), and proxies on the way, should the login and the reads below fail too", "%s", found.Instead)
		return
	}
	l.ok(checkAnswer, "%s without a token, in %s", found.Status, short(found.Took))
}

func (l *tenant) mendStep(found orchestrator.Route) (cli.Code, string) {
	where := "UIPATH_URL (url)"
	if found.Proxy != "" {
		where = "HTTPS_PROXY or HTTP_PROXY"
	}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](found.Err)
	wrongHost, named := errors.AsType[x509.HostnameError](found.Err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](found.Err)
	switch {
	case found.Failed == orchestrator.StepName:
		return cli.ExitUnreachable, "correct the host in " + where + ", or mend DNS"
	case found.Failed == orchestrator.StepConnect:
		return cli.ExitUnreachable, "correct host and port in " + where + ", open the firewall, or set HTTPS_PROXY where a proxy is the way out"
	case unknown:
		return cli.ExitUsage, "name the authority that signs the server's certificate in UIPATH_CA (caFile)"
	case named:
		return cli.ExitUsage, "use a name in UIPATH_URL (url) that the certificate is for: " + strings.Join(wrongHost.Certificate.DNSNames, ", ")
	case isInvalid && invalid.Reason == x509.Expired:
		return cli.ExitUsage, "renew the server's certificate, or set this machine's clock"
	case found.CertificateAsked:
		return cli.ExitCredentials, "set a client certificate that the server takes: UIPATH_CERT and UIPATH_KEY (certFile, keyFile)"
	case found.Failed == orchestrator.StepTLS && found.Proxy != "":
		return cli.ExitUsage, "check " + where + ", the user and password in it, and whether the proxy may connect to " + found.Host
	case found.Failed == orchestrator.StepTLS:
		return cli.ExitUsage, "check that " + where + " leads to a server that speaks TLS 1.2 or newer"
	}
	return cli.ExitUnreachable, "look again later; see UiPath's status page, and proxies on the way"
}
