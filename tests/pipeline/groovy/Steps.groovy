import groovy.util.XmlSlurper
import java.nio.file.FileSystems
import java.nio.file.Files
import java.nio.file.StandardCopyOption

/** The steps that a Jenkinsfile calls; a shell step really runs. What happens is kept in `events`, in order. */
abstract class Steps extends Script {
  final Env env = new Env(this)
  final Parameters params = new Parameters()
  final List<Map> events = [].asSynchronized()
  protected final ThreadLocal<Place> places = ThreadLocal.withInitial { new Place() }
  protected Map settings // see run.groovy
  protected Declarative declarative

  /** A script's own property would be a variable of the Jenkinsfile, too. */
  void begin(Map settings, Declarative declarative) {
    this.settings = settings
    this.declarative = declarative
  }

  Place getPlace() { places.get() }

  /** Runs code with a changed place, which is the earlier one again afterwards. */
  def at(Map changes, Place from = place, Closure code) {
    def before = places.get()
    places.set(new Place([stage: from.stage, workspace: from.workspace, variables: from.variables] + changes))
    try {
      code()
    } finally {
      places.set(before)
    }
  }

  void note(Map event) { events << ([stage: place.stage] + event) }

  void log(String line) {
    System.err.println("${new Date().format('HH:mm:ss')} [${place.stage}] $line")
  }

  // ---- steps --------------------------------------------------------------------------------------------------------

  def sh(String command) { sh(script: command) }

  def sh(Map options) {
    def command = options.script.toString()
    def fault = declarative.commandFault(command)
    if (fault) {
      throw new StepFailed("sh: $fault")
    }
    log("+ $command")
    def builder = new ProcessBuilder('sh', '-ec', command).directory(workspace())
    builder.environment().putAll(params.values.collectEntries { [it.key, it.value.toString()] })
    builder.environment().putAll(env.all)
    builder.redirectInput(new File('/dev/null'))
    if (!options.returnStdout) {
      builder.redirectErrorStream(true)
    }
    def process = builder.start()
    def output = new StringBuilder()
    def aside = Thread.start { process.errorStream.eachLine { log(it) } }
    process.inputStream.eachLine { options.returnStdout ? output << it << '\n' : log(it) }
    def code = process.waitFor()
    aside.join()
    note(command: command, code: code)
    if (options.returnStatus) {
      return code
    }
    if (code != 0) {
      throw new StepFailed("script returned exit code $code")
    }
    options.returnStdout ? output.toString() : null
  }

  void error(String message) { throw new StepFailed(message) }

  void echo(String message) { log(message) }

  void script(Closure code) { code() }

  void withEnv(List variables, Closure code) {
    def added = variables*.toString().collectEntries { it.split('=', 2) as List }
    at(variables: place.variables + added, code)
  }

  Map file(Map credential) { credential }

  /** Lends each credential that the run was given, as a file that is gone afterwards. */
  void withCredentials(List<Map> credentials, Closure code) {
    def lent = credentials.collectEntries { credential ->
      def source = settings.credentials[credential.credentialsId.toString()]
      if (!source) {
        throw new StepFailed("Could not find credentials entry with ID '${credential.credentialsId}'")
      }
      def copy = File.createTempFile('credential', '')
      copy.bytes = new File(source).bytes
      note(credential: credential.credentialsId.toString())
      [credential.variable, copy.path]
    }
    try {
      at(variables: place.variables + lent, code)
    } finally {
      lent.values().each { new File(it).delete() }
    }
  }

  void junit(String pattern) {
    def suites = pattern.tokenize(', ').collectMany { matching(it) }.collect { new XmlSlurper().parse(it) }
    def cases = suites.collectMany { it.'**'.findAll { node -> node.name() == 'testcase' } }
    if (!cases) {
      throw new StepFailed("No test report files were found: $pattern")
    }
    note(tests: cases.size(), failed: cases.count { it.failure.size() + it.error.size() })
  }

  void archiveArtifacts(Map options) {
    options.artifacts.toString().tokenize(', ').each { pattern ->
      def files = matching(pattern)
      if (!files) {
        throw new StepFailed("No artifacts found that match the file pattern '$pattern'")
      }
      files.each {
        copy(it, new File(settings.archive))
        note(archived: relative(it))
      }
    }
  }

  void stash(Map options) { matching(options.includes).each { copy(it, stashed(options.name)) } }

  void unstash(String name) {
    if (!stashed(name).directory) {
      throw new StepFailed("No such saved stash '$name'")
    }
    stashed(name).eachFileRecurse { if (it.file) copy(it, workspace(), stashed(name)) }
  }

  // ---- files --------------------------------------------------------------------------------------------------------

  protected File workspace() {
    if (!place.workspace) {
      throw new StepFailed('Required context class hudson.FilePath is missing: no agent')
    }
    place.workspace
  }

  protected File stashed(String name) { new File(settings.folder, "stash/$name") }

  protected String relative(File file, File root = workspace()) { root.toPath().relativize(file.toPath()).toString() }

  protected List<File> matching(String pattern) {
    def matcher = FileSystems.default.getPathMatcher("glob:$pattern"), found = []
    def top = new File(workspace(), pattern.tokenize('/')[0])
    if (top.directory) {
      top.eachFileRecurse { if (it.file && matcher.matches(workspace().toPath().relativize(it.toPath()))) found << it }
    }
    found
  }

  protected void copy(File file, File target, File root = workspace()) {
    def copied = new File(target, relative(file, root))
    copied.parentFile.mkdirs()
    Files.copy(file.toPath(), copied.toPath(), StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.COPY_ATTRIBUTES)
  }
}
