import org.codehaus.groovy.ast.ASTNode
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.MethodNode
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.ConstantExpression
import org.codehaus.groovy.ast.expr.Expression
import org.codehaus.groovy.ast.expr.GStringExpression
import org.codehaus.groovy.ast.expr.MapExpression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.ast.expr.TupleExpression
import org.codehaus.groovy.ast.stmt.ExpressionStatement
import org.codehaus.groovy.ast.stmt.Statement
import org.codehaus.groovy.control.CompilationUnit
import org.codehaus.groovy.control.MultipleCompilationErrorsException
import org.codehaus.groovy.control.Phases

/** Reads a Jenkinsfile without running it and says what Jenkins, or the Makefile, would not take. */
class Declarative {
  private static final List<String> CONDITIONS = ['branch', 'triggeredBy', 'expression', 'not', 'allOf', 'anyOf']

  /** What may stand in which block: as much of the declarative syntax as this project uses. */
  private static final Map<String, List<String>> BLOCKS = [
    pipeline: ['agent', 'parameters', 'options', 'triggers', 'stages', 'post'],
    stages: ['stage'],
    parallel: ['stage'],
    stage: ['agent', 'when', 'input', 'options', 'steps', 'stages', 'parallel', 'post'],
    agent: ['label'],
    parameters: ['choice', 'string', 'booleanParam'],
    options: ['timestamps', 'disableConcurrentBuilds', 'timeout', 'buildDiscarder'],
    triggers: ['cron'],
    input: ['message', 'ok', 'submitter'],
    when: CONDITIONS + ['beforeInput', 'beforeAgent'],
    not: CONDITIONS, allOf: CONDITIONS, anyOf: CONDITIONS,
    post: ['always', 'success', 'failure', 'unsuccessful'],
  ]
  /** Blocks whose content is steps and nothing else: other Groovy belongs into script or a function. */
  private static final List<String> STEP_BLOCKS = ['steps'] + BLOCKS.post
  private static final List<String> STEPS = [
    'sh', 'error', 'echo', 'script', 'withEnv', 'withCredentials', 'file', 'junit', 'archiveArtifacts', 'stash', 'unstash',
  ]
  /** Steps that need the files of an agent. */
  private static final List<String> AGENT_STEPS = ['sh', 'junit', 'archiveArtifacts', 'stash', 'unstash']
  private static final Map<String, List<String>> NAMED_ARGUMENTS = [
    sh: ['script', 'returnStdout', 'returnStatus'], file: ['credentialsId', 'variable'],
    archiveArtifacts: ['artifacts', 'fingerprint'], stash: ['name', 'includes'],
    choice: ['name', 'choices', 'description'], string: ['name', 'defaultValue', 'description'],
    booleanParam: ['name', 'defaultValue', 'description'], timeout: ['time', 'unit'], logRotator: ['numToKeepStr'],
  ]
  private static final String UNKNOWN = '\u0001' // stands for what is known at run time only

  private final String makefile
  private final List<String> targets
  private final List<String> faults = []
  private Map<String, MethodNode> functions

  Declarative(String makefile) {
    this.makefile = makefile
    targets = (makefile =~ /(?m)^([a-z0-9-]+):.*## /).collect { it[1] }
  }

  /** Returns a line for each fault, none for a file that can be run. */
  List<String> check(String jenkinsfile) {
    def unit = new CompilationUnit()
    unit.addSource('Jenkinsfile', jenkinsfile)
    try {
      unit.compile(Phases.CONVERSION)
    } catch (MultipleCompilationErrorsException error) {
      return error.message.readLines().findAll()
    }
    def module = unit.AST.modules[0]
    functions = module.methods.collectEntries { [it.name, it] }
    functions.values().each { checkCode(it.code, it.parameters*.name) }
    def calls = callsIn(module.statementBlock.statements, 'the file')
    calls.findAll { it.methodAsString != 'pipeline' }.each { fault(it, "'${it.methodAsString}' is not the pipeline") }
    def pipelines = calls.findAll { it.methodAsString == 'pipeline' }
    if (pipelines.size() != 1) {
      faults << "there must be one pipeline, not ${pipelines.size()}".toString()
    }
    pipelines.each { checkBlock(it, false) }
    faults
  }

  /** Returns what is wrong with a command that `sh` is given, or null. */
  String commandFault(String command) {
    def parts = command =~ /make( --silent)? ([a-z0-9-]+)((?: [A-Z_]+=\S*)*)/
    if (!parts.matches()) {
      return "'${command.replace(UNKNOWN, '…')}' is not one call of a Make target with its variables"
    }
    if (!(parts.group(2) in targets)) {
      return "the Makefile has no target '${parts.group(2)}'"
    }
    def names = parts.group(3).tokenize(' ')*.takeWhile { it != '=' }
    def strange = names.find { !(makefile =~ /\b$it\b/) }
    strange ? "the Makefile knows no variable '$strange'" : null
  }

  // ---- blocks -------------------------------------------------------------------------------------------------------

  private void checkBlock(MethodCallExpression block, boolean hasAgent) {
    def name = block.methodAsString
    def calls = callsIn(closureOf(block).code.statements, name)
    calls.findAll { !(it.methodAsString in BLOCKS[name]) }.each {
      fault(it, "'${it.methodAsString}' does not belong into $name; known are: ${BLOCKS[name].join(', ')}")
    }
    calls = calls.findAll { it.methodAsString in BLOCKS[name] }
    def names = calls*.methodAsString
    if (name in ['pipeline', 'stage', 'input', 'post']) {
      names.findAll { names.count(it) > 1 }.unique().each { fault(block, "$name has more than one '$it'") }
    }
    if (name == 'pipeline') {
      ['agent', 'stages'].findAll { !(it in names) }.each { fault(block, "pipeline has no '$it'") }
    }
    if (name == 'stage') {
      checkStage(block, names)
    }
    if (name in ['stages', 'parallel']) {
      def titles = calls.collect { textOf(argumentsOf(it)[0]) }
      titles.findAll { titles.count(it) > 1 }.unique().each { fault(block, "two stages are called '$it'") }
    }
    hasAgent |= calls.any { it.methodAsString == 'agent' && argumentsOf(it)[0].text != 'none' }
    calls.each { checkPart(it, hasAgent) }
  }

  private void checkStage(MethodCallExpression stage, List<String> names) {
    if (!(argumentsOf(stage)[0] instanceof ConstantExpression)) {
      fault(stage, 'a stage needs a name')
    }
    def contents = names.findAll { it in ['steps', 'stages', 'parallel'] }
    if (contents.size() != 1) {
      fault(stage, "a stage has one of steps, stages and parallel, not ${contents ?: 'none'}")
    }
    if ('parallel' in names && 'agent' in names) {
      fault(stage, 'a stage with parallel ones cannot have an agent: they have')
    }
  }

  private void checkPart(MethodCallExpression part, boolean hasAgent) {
    def name = part.methodAsString
    checkArguments(part)
    if (name in STEP_BLOCKS) {
      callsIn(closureOf(part).code.statements, name)
      checkCode(closureOf(part).code, [])
      if (!hasAgent && needsAgent(closureOf(part).code, [] as Set)) {
        fault(part, "$name needs an agent, and no stage around it has one")
      }
    } else if (name == 'expression') {
      checkCode(closureOf(part).code, [])
    } else if (name in BLOCKS && closureOf(part)) {
      checkBlock(part, hasAgent)
    }
  }

  // ---- Groovy -------------------------------------------------------------------------------------------------------

  private void checkCode(Statement code, List<String> variables) {
    def known = STEPS + functions.keySet() + variables
    eachCall(code) { call ->
      if (call.implicitThis && !(call.methodAsString in known)) {
        fault(call, "there is no step and no function '${call.methodAsString}'")
      }
      checkArguments(call)
      if (call.implicitThis && call.methodAsString == 'sh') {
        def problem = commandFault(textOf(namedArguments(call).script ?: argumentsOf(call)[0]))
        if (problem) {
          fault(call, "sh: $problem")
        }
      }
    }
  }

  private boolean needsAgent(Statement code, Set<String> seen) {
    def needs = false
    eachCall(code) { call ->
      def name = call.methodAsString
      needs |= name in AGENT_STEPS
      if (name in functions && seen.add(name)) {
        needs |= needsAgent(functions[name].code, seen)
      }
    }
    needs
  }

  private void checkArguments(MethodCallExpression call) {
    def known = NAMED_ARGUMENTS[call.methodAsString] ?: []
    if (call.implicitThis) {
      namedArguments(call).keySet().findAll { !(it in known) }.each {
        fault(call, "'${call.methodAsString}' takes no '$it'; known are: ${known.join(', ') ?: 'none'}")
      }
    }
  }

  private static void eachCall(ASTNode code, Closure action) {
    code.visit(new CodeVisitorSupport() {
      void visitMethodCallExpression(MethodCallExpression call) {
        action(call)
        super.visitMethodCallExpression(call)
      }
    })
  }

  // ---- nodes --------------------------------------------------------------------------------------------------------

  private List<MethodCallExpression> callsIn(List<Statement> statements, String place) {
    statements.findResults { statement ->
      def expression = statement instanceof ExpressionStatement ? statement.expression : null
      if (expression instanceof MethodCallExpression && expression.implicitThis) {
        return expression
      }
      fault(statement, "this does not belong into $place: only ${place in STEP_BLOCKS ? 'steps' : 'sections'} do")
      null
    }
  }

  private static List<Expression> argumentsOf(MethodCallExpression call) {
    call.arguments instanceof TupleExpression ? call.arguments.expressions : []
  }

  private static ClosureExpression closureOf(MethodCallExpression call) {
    argumentsOf(call).find { it instanceof ClosureExpression }
  }

  private static Map<String, Expression> namedArguments(MethodCallExpression call) {
    def named = argumentsOf(call).find { it instanceof MapExpression }
    named ? named.mapEntryExpressions.collectEntries { [it.keyExpression.text, it.valueExpression] } : [:]
  }

  /** The text of an expression; what only a run can tell is UNKNOWN. */
  private static String textOf(Expression expression) {
    if (expression instanceof GStringExpression) {
      return expression.strings*.text.join(UNKNOWN) + (expression.strings.size() > expression.values.size() ? '' : UNKNOWN)
    }
    expression instanceof ConstantExpression ? expression.text : UNKNOWN
  }

  private void fault(ASTNode node, String what) {
    faults << "line ${node.lineNumber}: $what".toString()
  }
}
