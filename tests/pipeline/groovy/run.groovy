// Usage: groovy run.groovy SETTINGS
// Runs a Jenkinsfile as one build. SETTINGS is a JSON file: checkout (a git checkout with the Jenkinsfile), folder (for
// workspaces), archive (for artifacts), parameters, cause ('TimerTrigger' or ''), answers (of the gates, by stage: yes
// or no), credentials (files by id) and report, where the result and the events are written to, as JSON.
// The log goes to stderr. Exit code 0 only for a build that succeeds.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import org.codehaus.groovy.control.CompilerConfiguration

def settings = new JsonSlurper().parse(new File(args[0]))
def jenkinsfile = new File(settings.checkout, 'Jenkinsfile').text
def declarative = new Declarative(new File(settings.checkout, 'Makefile').text)
def report = [result: 'NOT_BUILT', events: []]
def faults = declarative.check(jenkinsfile)
faults.each { System.err.println("Jenkinsfile: $it") }
if (!faults) {
  def shell = new GroovyShell(Jenkins.classLoader, new Binding(), new CompilerConfiguration(scriptBaseClass: 'Jenkins'))
  def build = shell.parse(jenkinsfile, 'Jenkinsfile.groovy')
  build.begin(settings, declarative)
  try {
    build.run()
    report.result = build.result
  } catch (IllegalArgumentException refused) {
    System.err.println("Jenkins: ${refused.message}")
  }
  report.events = build.events
}
new File(settings.report).text = JsonOutput.toJson(report)
System.exit(report.result == 'SUCCESS' ? 0 : 1)
